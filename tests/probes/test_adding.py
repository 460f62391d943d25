"""Adding a probe as CONTRIBUTING says: one file and one entry, and the command line, a recipe and the dashboard have it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAME = "chosen_weight"
pytestmark = pytest.mark.slow


def snippets() -> list[str]:
    """The Python of the section `Add a probe`: the file, and the entry."""
    section = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## Add a probe")[1].split("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)


@pytest.fixture(scope="module")
def added(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project in which the section was followed; what it does not touch is linked."""
    copy = tmp_path_factory.mktemp("project")
    for name in ("workbench", "app", "data", "tests"):
        (copy / name).symlink_to(ROOT / name)
    for name in ("app", "data"):
        (copy / f"workbench_{name}").symlink_to(ROOT / name)
    for path in (ROOT / "probes").rglob("*.py"):
        place = copy / path.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    file, entry = snippets()
    (copy / file.splitlines()[0].removeprefix("# ")).write_text(file, encoding="utf-8")
    family = copy / "probes" / "entries" / "utilisation.py"
    before, start, rest = family.read_text(encoding="utf-8").partition("UTILISATION = (\n")
    family.write_text(f"{before}{start}{entry.rstrip()},\n{rest}", encoding="utf-8")
    return copy


def python(added: Path, code: str, *words: str) -> str:
    """Runs code on the copy, in its folder."""
    environment = {**os.environ, "PYTHONPATH": str(added), "HF_HUB_OFFLINE": "1"}
    said = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=added, env=environment, capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr[-3000:]
    return said.stdout


RUN = "from workbench_app.__main__ import main; main()"
STORE = str(ROOT / "data" / "demo-store")


def test_the_command_line_ranks_by_it(added: Path) -> None:
    assert NAME in python(added, RUN, "rank", "--help")
    found = json.loads(python(added, RUN, "rank", NAME, STORE, "--set", "tokens=prompt", "--json"))
    assert found["method"] == NAME
    assert found["options"] == {"tokens": "prompt"}
    assert 0 < found["scores"][0]["score"] <= 1


RECIPE = f"""
name = "mine"
[[models]]
source = "demo"
[prompts.asked]
source = "refusal"
role = "ranking"
split = "ranking"
[prompts.heldout]
source = "refusal"
role = "target"
split = "heldout"
metrics = ["refused"]
[[rankings]]
name = "chosen"
method = "{NAME}"
prompts = "asked"
options = {{ tokens = "prompt" }}
[[plans]]
ranking = "chosen"
n = [1]
edit = ["off"]
"""
RANKED = f"""
from pathlib import Path
from probes import {NAME}
from workbench import open_store
from workbench.progress import Meter
from workbench_app.experiments.engine import rank
from workbench_app.experiments.recipe import read_recipe

recipe, store = read_recipe("recipe.toml"), open_store({STORE!r})
Path("run/units").mkdir(parents=True)
ranked = rank(Path("run"), recipe, 0, {{"asked": store}}, Meter(0, lambda progress: None))
assert ranked.by("chosen").frame.equals({NAME}(store, tokens="prompt").frame)
print(ranked.by("chosen").method)
"""


def test_a_recipe_ranks_by_it(added: Path) -> None:
    (added / "recipe.toml").write_text(RECIPE, encoding="utf-8")
    assert python(added, RANKED).split() == [NAME]


PAGE = f"""
from probes import {NAME}
from probes.ranking import refs_of
from tests.app.pages import opened
from workbench import open_store

page = opened("probes", "project")
assert "Chosen weight: is given much weight when it is chosen" in page.selectbox(key="probe").options
page.selectbox(key="probe").set_value("{NAME}").run()
page.selectbox(key="{NAME}-tokens").set_value("prompt")
page = next(button for button in page.button if button.label == "Run").click().run()
assert not page.exception
table, found = page.dataframe[0].value, {NAME}(open_store({STORE!r}), tokens="prompt")
assert table["name"].tolist() == [str(ref) for ref in refs_of(found.frame)]
atlas = opened("atlas", "project")
print("chosen weight" in atlas.selectbox(key="atlas-measure").options, len(table))
"""


def test_the_dashboard_asks_it_and_colours_by_it(added: Path) -> None:
    coloured, n = python(added, PAGE).split()
    assert coloured == "True"
    assert int(n) > 50
