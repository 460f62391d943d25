"""What a refused call says: the sentence of its WorkbenchError."""

from typing import Any

import pytest

from workbench import WorkbenchError


def refused(call: Any, *args: Any, **how: Any) -> str:
    """The sentence with which a call is refused; a call that is not refused fails the test."""
    with pytest.raises(WorkbenchError) as caught:
        call(*args, **how)
    return str(caught.value)
