"""The notebooks on the real model run from top to bottom and print what is committed."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.notebooks import FOLDER, run
from tests.test_notebooks import REAL, printed, read

pytestmark = [pytest.mark.real, pytest.mark.timeout(480)]


@pytest.mark.parametrize("name", REAL)
def test_a_notebook_prints_what_is_committed(name: str, smollm2: tuple[Any, Any], tmp_path: Path) -> None:
    pytest.importorskip("nbclient", reason="the extra 'dev' is not installed (nbclient)")
    assert printed(run(FOLDER / f"{name}.ipynb", tmp_path)) == printed(read(name))
