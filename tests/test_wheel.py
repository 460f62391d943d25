"""The installed wheel works outside the clone, and puts nothing else into anybody's environment."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow
OURS = {"workbench", "probes", "workbench_app", "workbench_data"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the files that git tracks or would track and installed into an empty folder."""
    folder = tmp_path_factory.mktemp("wheel")
    clone, target = folder / "clone", folder / "site"
    said = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in said.stdout.splitlines():
        if (ROOT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, clone / name)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(clone)], check=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(target), str(wheel)], check=True)
    return target


def python(installed: Path, code: str, cwd: Path) -> str:
    """Runs code on the installed packages, in a folder that is not the clone."""
    environment = {**os.environ, "PYTHONPATH": str(installed), "HF_HUB_OFFLINE": "1"}
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr[-3000:]
    return said.stdout


def test_only_our_packages_are_put_there(installed):
    found = {p.name for p in installed.iterdir() if not p.name.endswith(".dist-info") and p.name != "bin"}
    assert found == OURS
    assert (installed / "bin" / "workbench").is_file()
    assert list(installed.glob("*.dist-info/licenses/LICENSE"))


def test_every_module_is_in_it(installed):
    said = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "workbench", "probes", "app"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    tracked = {re.sub("^app/", "workbench_app/", name) for name in said.stdout.splitlines() if (ROOT / name).is_file()}
    there = {str(p.relative_to(installed)) for p in installed.rglob("*") if p.is_file() and p.suffix != ".pyc"}
    assert len(tracked) > 200
    assert not tracked - there


def test_it_is_the_installed_package_that_runs(installed, tmp_path):
    code = "import workbench, probes, workbench_app; print(workbench.__file__, probes.__file__, workbench_app.__file__)"
    assert all(path.startswith(str(installed)) for path in python(installed, code, tmp_path).split())


def test_the_bundled_model_loads_and_the_data_flow_line_runs(installed, tmp_path):
    snippet = (ROOT / "README.md").read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    said = python(installed, snippet + "\nprint(model.hf.config.name_or_path, report)", tmp_path)
    assert said.startswith(str(installed))
    assert "refused:" in said
    assert (tmp_path / "stores" / "refusal" / "manifest.json").is_file()


def test_the_report_s_template_and_the_page_are_in_it(installed):
    assert (installed / "workbench_app" / "reports" / "templates" / "experiment.html").is_file()
    assert (installed / "workbench_app" / "page.py").is_file()


def test_the_bundled_recipes_are_read_there(installed, tmp_path):
    code = (
        "from workbench_app.experiments.recipe import read_recipe as r; print(*(r(n).name for n in ('mote', 'safex')))"
    )
    assert python(installed, code, tmp_path).split() == ["mote", "safex"]


def test_the_command_runs(installed, tmp_path):
    said = python(
        installed, "from workbench_app.__main__ import main; import sys; sys.argv[1:] = ['models']; main()", tmp_path
    )
    assert "demo" in said
    assert "tiny/longcat_flash" in said  # the conformance suite's findings are in the wheel
