"""The report of a run: every number out of the tables, nothing interpreted, nothing asked of the network."""

import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from workbench_app.experiments.report import write_report
from workbench_app.experiments.report.effect_tables import MOVED, STAYED, UNCLEAR, status
from workbench_app.experiments.report.figures import claim_figure
from workbench_app.experiments.report.report import answers_of, render, with_claims

from tests.app.experiments.runs import ATTACK, made_recipe, made_run, made_tables


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return (
        write_report(made_run(tmp_path_factory.mktemp("made") / "run"))
        .read_text("utf-8")
        .replace("\u00a0", " ")
        .replace("&nbsp;", " ")
    )


def test_every_number_comes_from_the_tables(page: str, tmp_path: Path) -> None:
    shown = ("63.7 %", "27.4 %", "−36.3", "[−48.1, −24.2]", "0.021", "91.3 %", "−0.9", "[−3.1, +1.3]", "1,234 of 4,321",
             "2,468 of 8,642", "0.200", "0.321", "0.4269", "17.3 %", "0.578", "9.9.9", "17 clusters", "−0.5432")  # fmt: skip
    for number in shown:
        assert number in page, number
    other = made_run(tmp_path / "other", steered=0.512, difference=-0.125, low=-0.222, high=-0.028)
    changed = write_report(other).read_text("utf-8").replace("\u00a0", " ").replace("&nbsp;", " ")
    assert "51.2 %" in changed
    assert "[−22.2, −2.8]" in changed
    first = changed.partition("<h2>What did not change")[0].partition('<section class="claim" id="c2"')[0]
    assert first.count("[−48.1") == 0


def test_the_verdicts_stand_in_words_with_their_reasons(page: str, tmp_path: Path) -> None:
    assert page.count("● appears") >= 4  # the table, the sections and the legend
    assert "no random draw of 9 moved it as far" in page
    against = made_run(tmp_path / "against", steered=0.7, difference=0.063, low=0.021, high=0.104)
    text = write_report(against).read_text("utf-8")
    assert "○&nbsp;does not appear" in text
    assert "the interval lies on the other side of 0" in text


def test_the_paper_stands_beside_ours_with_its_grade_and_the_differences(page: str) -> None:
    assert "R1: refusals, 90 % to 53 % (−37 points) [abstract]" in page
    assert "ours are &lt;i&gt;other&lt;/i&gt; prompts" in page


def test_references_stand_beside_ours_only_where_the_model_is_the_papers(page: str) -> None:
    rows = re.findall(r"<tr><td>(L\dE\d)</td><td>(?:largest|difference)</td>(.*?)</tr>", page)
    found = {expert: re.findall(r"<td>(.*?)</td>", cells) for expert, cells in rows}
    assert found["L1E3"][:3] == ["744", "0.4269", "1"]
    assert found["L2E2"][:3] == ["−0.5432", "–", "–"]
    assert "Not run here; with models = [&#34;other/brand&#34;]" in page


class Tags(HTMLParser):
    """The elements of a page, and the attributes that could fetch or run something."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.risky: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        outside = [(n, v or "") for n, v in attrs if n in ("src", "href", "srcset", "action") or n.startswith("on")]
        self.risky += [(n, v) for n, v in outside if not (n == "href" and v.startswith("#"))]


def test_text_of_models_prompts_and_recipes_is_never_interpreted(page: str) -> None:
    found = Tags()
    found.feed(page)
    assert not found.tags & {"script", "img", "iframe", "link", "object"}
    assert not found.risky
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 3  # prompt, base and steered answer, a note
    assert "Does anything &lt;b&gt;happen&lt;/b&gt;?" in page


def test_it_is_one_file_that_asks_for_nothing(page: str) -> None:
    without_text = page.replace(ATTACK, "").replace("https://evil.example", "")
    assert not re.search(r"@import|url\(|https?://", without_text)
    assert "prefers-color-scheme: dark" in page


def test_a_figure_for_every_claim_as_a_file_that_is_xml(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run")
    write_report(run)
    files = sorted((run / "figures").glob("*.svg"))
    assert [file.name for file in files] == ["falls.svg", "sums-stay.svg"]
    for file in files:
        assert ElementTree.parse(file).getroot().tag == "{http://www.w3.org/2000/svg}svg"


def test_the_figure_shows_every_draw_the_other_end_the_paper_and_the_grid(tmp_path: Path) -> None:
    tables, recipe = made_tables(tmp_path / "run"), made_recipe()
    drawn = claim_figure(answers_of(recipe, with_claims(recipe, tables))[0].facts)
    forest, grid = drawn.split("without the plan</text>")[0], drawn
    assert forest.count('class="random"') == 9
    assert grid.count('class="random"') == 9 + 2 * 9  # again in the grid, for each n
    assert drawn.count('class="paper"') == 1
    assert drawn.count('class="hollow"') == 1
    assert drawn.count('class="plan"') == 1 + 2
    assert "change of refusals, points" in drawn
    assert "experts</text>" in drawn


def test_a_paper_far_beyond_ours_does_not_squash_the_axis(tmp_path: Path) -> None:
    claims = made_recipe().model_dump(mode="json")["claims"][:1]
    recipe = made_recipe(claims=[{**claims[0], "paper": {"what": "huge", "difference": -40.0}, "at_least": 0.05}])
    drawn = claim_figure(answers_of(recipe, with_claims(recipe, made_tables(tmp_path / "run")))[0].facts)
    assert "paper-line" in drawn  # an arrow at the edge
    assert drawn.count("−4000") == 1  # its number in words, and no tick


def test_capabilities_stay_move_or_cannot_be_told() -> None:
    about = {"metric": "exact"}
    assert status({**about, "low": -0.05, "high": 0.05}) == STAYED
    assert status({**about, "low": 0.01, "high": 0.04}) == STAYED  # a little, but within 5 points
    assert status({**about, "low": -0.20, "high": -0.01}) == MOVED
    assert status({**about, "low": -0.20, "high": 0.02}) == UNCLEAR
    assert status({**about, "low": float("nan"), "high": float("nan")}) == UNCLEAR
    assert status({"metric": "length", "low": -0.01, "high": 0.01}) == UNCLEAR  # points mean nothing to characters


def test_a_claim_that_was_not_measured_is_said_and_not_drawn(tmp_path: Path) -> None:
    tables, recipe = made_tables(tmp_path / "run"), made_recipe()
    tables["arms"].loc[tables["arms"]["arm"] == "P02", "reason"] = "too many experts forced"
    page = render(recipe, with_claims(recipe, tables), {})
    assert "its plan was not run on this model" in page
    assert page.count('<section class="claim"') == 2
    assert "<svg" not in page.split("<h2>The answer</h2>")[1].split("<h2>The experts</h2>")[0]


def test_examples_are_the_first_changed_answers(page: str) -> None:
    assert "1 of 3 answers changed; the first 5." in page
    assert "steered</td>" in page
    assert "same 1" not in page
