"""Names of tiny models that do not exist."""

import pytest

from workbench.errors import WorkbenchError
from workbench.loading import tiny_model


def test_there_is_no_such_tiny_model() -> None:
    with pytest.raises(
        WorkbenchError, match=r"^There is no tiny model 'mixtrl'; did you mean 'mixtral'\? out of 79 families; `work"
    ):
        tiny_model("mixtrl")
