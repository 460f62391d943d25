"""The card of an expert: its numbers are the store's and the probes', its files hold all of it, and no text in it is markup."""

import json
import re
from pathlib import Path

import pytest
from workbench_app.experts import as_html, as_markdown, card_of

from probes import describe, usage
from tests.app.cli.printed import run
from tests.probes.oracle.cases import golden
from tests.probes.oracle.memory import disk_store
from tests.probes.oracle.specialisation.directions import decoded
from tests.probes.oracle.structure.cases import alike
from workbench import ExpertRef, Store, WorkbenchError
from workbench.anatomy import as_ref


@pytest.fixture
def full(tmp_path: Path) -> Store:
    """The golden store with routers and directions, some of whose tokens would be markup."""
    case = golden()
    case.rows["routers"], case.rows["directions"] = alike().rows["routers"], decoded().rows["directions"]
    for token in case.rows["tokens"]:
        token["token"] = {"what": "<b>a|b</b>", "is": "*is*\x1b[31m"}.get(token["token"], token["token"])
    return disk_store(tmp_path / "s", case.anatomy, case.rows)


def section(store: Store, title: str, expert: str = "L1E0") -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    (found,) = [s for s in card_of(store, as_ref(expert)).sections if s.title == title]
    return found.lines, [*found.rows]


def test_its_numbers_are_those_of_the_store_and_of_the_probes(full: Store) -> None:
    # 8 of 12 tokens of layer 1 select expert 0: 6 of the prompts' 8, 2 of the answers' 4
    lines, rows = section(full, "Use")
    assert lines[0].startswith("8 of 12 tokens select it (66.67%; even routing: 66.67%), with a mean weight of ")
    assert ("role user", "75.00%", "8") in rows
    frame = usage(full, n_bootstrap=0).frame.reset_index(drop=True)
    place = int(frame.index[(frame["layer"] == 1) & (frame["expert"] == 0)][0])
    (own,) = [row for row in section(full, "In every ranking")[1] if row[0] == "usage"]
    assert own[1] == f"{place + 1} of 8"
    label = describe(full, experts=["L1E0"]).frame.iloc[0]["label"]
    assert section(full, "Label")[0] == (
        ("No word tells where it is selected.",) if not label else (f"Selected at {label}.",)
    )
    # 0 and 1 have cosine 1, 0 and 2 cosine 0; the rows are their own, not the other layer's
    assert section(full, "Most alike to its router")[1] == [("L1E1", "+1.00"), ("L1E2", "+0.00")]
    followers = [row for row in section(full, "Selected by its tokens in the next layers")[1] if row[0] == "after"]
    assert followers[0][1] == "L2E3"
    before = section(full, "Selected by its tokens in the next layers", "L2E3")[1]
    assert before[0][:2] == ("before", "L1E0")
    words = section(full, "Words of its weights")[1]
    assert words[0] == ("read", "the expert", "50.0%", "'9' 'cat'")
    assert ("write", "neuron 0", "50.0%", "' dog' 'cat'") in words


def test_what_the_store_lacks_is_said_in_its_place(tmp_path: Path) -> None:
    store = disk_store(tmp_path / "bare", golden().anatomy, golden().rows)
    assert "kept no directions; capture it again" in section(store, "Words of its weights")[0][0]
    assert "kept no routers; capture it again" in section(store, "Most alike to its router")[0][0]
    dead = {s.title: s.lines for s in card_of(store, ExpertRef(2, 4)).sections}
    assert dead["Tokens"] == ("No token of what was said selects it.",)
    assert dead["Use"][0].startswith("0 of 12 tokens select it")


def test_files_hold_every_section_and_no_text_is_markup(full: Store) -> None:
    card = card_of(full, ExpertRef(1, 0))
    text, page = as_markdown(card), as_html(card)
    for found in card.sections:
        assert f"\n## {found.title}\n" in text
        assert f"<h2>{found.title}</h2>" in page
    assert "<b>a" not in text.replace("\\<b\\>", "")
    assert "<b>a" not in page
    assert "&lt;b&gt;a|b&lt;/b&gt;" in page
    assert "\x1b" not in text + page
    assert len(re.findall(r"^\|", text, re.MULTILINE)) == sum(len(s.rows) + 2 for s in card.sections if s.rows)
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1, (
            "every row has as many cells"
        )


@pytest.mark.parametrize("expert", ["L1E3", "L0E0", "L1S0"])
def test_an_expert_that_is_not_there_is_one_sentence(full: Store, expert: str) -> None:
    said = run("expert", full.path, expert)
    assert said.exit_code == 2
    assert f"has no routed expert {expert}; its layers are 1, 2, of 5 experts at most." in said.stderr.replace(
        "\n", " "
    )


def test_the_command_writes_what_the_library_gathers(full: Store, tmp_path: Path) -> None:
    for ending, written in (("md", as_markdown), ("html", as_html)):
        out = tmp_path / f"card.{ending}"
        assert run("expert", full.path, "L1E0", "--out", out).exit_code == 0
        assert out.read_text(encoding="utf-8") == written(card_of(full, ExpertRef(1, 0)))
    found = json.loads(run("expert", full.path, "L1E0", "--json").stdout)
    assert found["ref"] == "L1E0"
    assert [s["title"] for s in found["sections"]] == [s.title for s in card_of(full, ExpertRef(1, 0)).sections]
    shown = run("expert", full.path, "L1E0").stdout
    assert "8 of 12 tokens select it" in shown
    assert "\x1b[31m" not in shown
    refused = run("expert", full.path, "L1E0", "--out", tmp_path / "card.pdf")
    assert refused.exit_code == 2
    assert "should end in .md or .html" in refused.stderr


def test_labels_ask_the_probes_that_compare_classes(full: Store) -> None:
    names = {row[0] for s in card_of(full, ExpertRef(1, 0), "refused").sections for row in s.rows}
    assert "ftri" in names
    with pytest.raises(WorkbenchError, match="has no routed expert L9E0"):
        card_of(full, ExpertRef(9, 0))
