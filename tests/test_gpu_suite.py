"""The tests of tests/gpu run here too, small and on the CPU, where nothing but the five libraries and pytest can be imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_imports import DATA_FLOW

ROOT = Path(__file__).parent.parent
RUN = """
import pytest
code = pytest.main(["tests/gpu", "-q", "-m", "gpu", "-W", "ignore::pytest.PytestConfigWarning", "-o", "timeout="])
assert not BLOCKED & {m.split(".")[0] for m in sys.modules}
sys.exit(code)
"""


@pytest.mark.slow
def test_the_suite_for_cuda_runs_small_on_the_cpu_with_few_libraries() -> None:
    """On a machine with CUDA and nothing else it must at least be collected, and its code must have run somewhere."""
    environment = os.environ | {
        "WORKBENCH_GPU_TESTS": "cpu",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    environment = {k: v for k, v in environment.items() if not k.startswith("PYTEST_XDIST")}
    said = subprocess.run(
        [sys.executable, "-c", DATA_FLOW + RUN], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stdout[-3000:] + said.stderr[-2000:]
    assert " passed" in said.stdout
    assert "failed" not in said.stdout
