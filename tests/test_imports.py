"""Who imports whom, and what is imported before it is needed."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "transformers", "streamlit", "plotly", "pandas", "pyarrow", "duckdb", "jinja2", "numpy")
PACKAGES = {"workbench": "workbench", "probes": "probes", "app": "workbench_app"}


def imported(file: Path) -> set[str]:
    """Top-level packages named in any import of the file, those inside functions and TYPE_CHECKING included."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    found |= {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.level == 0}
    return {name.split(".")[0] for name in found}


@pytest.mark.parametrize(
    ("folder", "never"),
    [
        ("workbench", {"probes", "workbench_app", "app", "streamlit", "plotly", "typer", "rich", "tests"}),
        ("probes", {"workbench_app", "app", "streamlit", "plotly", "typer", "rich", "torch", "transformers", "tests"}),
        ("app", {"tests", "notebooks", "app"}),
    ],
)
def test_the_arrows_point_one_way(folder, never):
    files = sorted((ROOT / folder).glob("**/*.py"))
    assert files
    wrong = {str(f.relative_to(ROOT)): sorted(imported(f) & never) for f in files if imported(f) & never}
    assert not wrong


def test_the_linter_holds_its_contracts():
    tool = Path(sys.executable).with_name("lint-imports")
    said = subprocess.run([str(tool), "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr
    assert " 0 broken" in said.stdout


def modules_after(code: str) -> set[str]:
    """Top-level modules that are loaded after running `code` in a fresh Python."""
    show = "; import sys, json; print(json.dumps(sorted({m.split('.')[0] for m in sys.modules})))"
    said = subprocess.run([sys.executable, "-c", code + show], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(json.loads(said.stdout.splitlines()[-1]))


HELP = (
    "import sys; from typer.testing import CliRunner; from workbench_app.cli import app; "
    "r = CliRunner().invoke(app, ['--help']); assert r.exit_code == 0 and 'Usage' in r.output"
)


def test_help_loads_nothing_heavy():
    assert not modules_after(HELP) & set(HEAVY)


def test_a_store_opens_without_torch():
    code = "import workbench; workbench.open_store, workbench.Plan, workbench.read_prompts; import probes; probes.ftri"
    assert not modules_after(code) & {"torch", "transformers", "duckdb", "streamlit"}


def test_a_store_in_a_folder_opens_without_object_storage():
    code = "import workbench; assert workbench.open_store('data/demo-store').counts().n.sum()"
    assert "obstore" not in modules_after(code)


def test_help_loads_no_library_but_those_that_print_it():
    bare = modules_after("import typer.testing, rich.console, rich.text")
    ours = {"workbench", "probes", "workbench_app", "filelock"}  # filelock: one small file, with what writes stores
    assert modules_after(HELP) - bare - ours <= sys.stdlib_module_names


DATA_FLOW = """
import sys
BLOCKED = {"duckdb", "transformer_lens", "nnsight", "plotly", "streamlit", "typer", "rich", "scipy", "pydantic", "accelerate",
           "hypothesis", "polars", "sklearn", "matplotlib"}
class Without:  # a finder that does not find what is blocked, as if it were not installed
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        return None if name.split(".")[0] in BLOCKED else self.finder.find_spec(name, path, target)
    def __getattr__(self, name):
        return getattr(self.finder, name)
sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
"""


@pytest.mark.slow
def test_the_data_flow_line_needs_five_libraries_alone(tmp_path):
    """The first snippet of the README, where only torch, transformers, pyarrow, pandas and numpy (and theirs) can be imported."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    snippet = readme.split("```python\n")[1].split("```")[0]
    assert "from probes import ftri" in snippet
    code = DATA_FLOW + snippet + "\nassert not BLOCKED & {m.split('.')[0] for m in sys.modules}\nprint(report)"
    said = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr[-3000:]
    assert "refused:" in said.stdout
    assert (tmp_path / "stores" / "refusal" / "manifest.json").is_file()


def test_the_blocker_of_that_test_blocks():
    said = subprocess.run(
        [sys.executable, "-c", DATA_FLOW + "import duckdb"], capture_output=True, text=True, check=False
    )
    assert said.returncode == 1
    assert "No module named 'duckdb'" in said.stderr
