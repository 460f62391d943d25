"""The pages Atlas and Tokens, driven without a browser: what they show, what they refuse, and that text stays text."""

import json

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

import probes
from tests.support import families
from workbench import open_store
from workbench.bundled import bundled_path
from workbench.store import write_store

pytestmark = pytest.mark.slow  # every test draws pages

PAGE = """
from workbench_app.dashboard.session.catalog import catalog_from
from workbench_app.dashboard.navigation import PAGES, shown_page

shown_page(catalog_from({arguments!r}), PAGES[{page!r}][1])
"""
HOSTILE = "<script>alert(1)</script>![x](http://a.invalid/b.png)\x1b[2J\u202e**b**"


def hostile_store(path):
    """One response of four tokens, whose every text would do something if it were read."""
    anatomy = families.get("olmoe").anatomy
    rows = [
        (HOSTILE, i, layer, slot, slot + i)
        for i in range(4) for layer in anatomy.moe_layers for slot in range(anatomy.layer(layer).top_k)
    ]  # fmt: skip
    of = {"prompt_id": HOSTILE, "sample": 0}
    tokens = pd.DataFrame(
        {**of, "position": range(4), "token_id": range(4), "token": HOSTILE, "role": "user", "generated": False}
    )
    slots = pd.DataFrame(rows, columns=["prompt_id", "position", "layer", "slot", "expert"])
    tables = {
        "prompts": pd.DataFrame({"prompt_id": [HOSTILE], "text": HOSTILE, "n_tokens": 4}),
        "tokens": tokens,
        "slots": slots.assign(sample=0, weight=0.5),
        "labels": pd.DataFrame({"prompt_id": HOSTILE, "name": HOSTILE, "value": [HOSTILE, "b"], "source": "given"}),
    }
    write_store(path, anatomy, tables)


def page_of(name, source, tmp_path, *more, scored=False, **query):
    arguments = [f"--model={source}", f"--project={tmp_path}", *more]
    page = AppTest.from_string(PAGE.format(arguments=arguments, page=name), default_timeout=120)
    for key, value in query.items():
        page.query_params[key] = value
    page.session_state["atlas-scores"] = scored
    return page.run()


def shown(page):
    """The texts of a page that neither raised nor failed."""
    assert not page.exception
    assert not [e.value for e in page.error if "page failed" in e.value]
    return [
        e.value for kind in (page.text, page.info, page.caption, page.warning, page.error, page.subheader) for e in kind
    ]


def test_the_atlas_begins_with_the_expert_that_leads_and_follows_the_url(tmp_path):
    page = page_of("atlas", "demo", tmp_path)
    assert "Expert L3E22" in shown(page)  # the largest load
    page = page_of("atlas", "demo", tmp_path, layer="2")
    assert "Expert L2E20" in shown(page)
    page = page_of("atlas", "demo", tmp_path, layer="99")
    assert any(s.startswith("Expert L0E") for s in shown(page))


def test_an_expert_chosen_by_keyboard_is_switched_off_and_cannot_be_forced_beside(tmp_path):
    page = page_of("atlas", "demo", tmp_path, layer="2")
    page.selectbox(key="atlas-expert").set_value(8).run()
    assert "Expert L2E8" in shown(page)
    page.button(key="atlas-apply").click().run()
    assert str(page.session_state["plan"]) == "off L2E8"
    page.selectbox(key="atlas-edit").set_value("force").run()
    page.button(key="atlas-apply").click().run()
    assert str(page.session_state["plan"]) == "off L2E8"
    assert page.warning
    page.selectbox(key="atlas-layer").set_value(0).run()
    assert "Expert L0E8" in shown(page)
    page.run()
    assert page.query_params["layer"] in ("0", ["0"])


def counted_by_hand(store):
    """The plain measures of every expert, from the rows of the store."""
    tokens = store.table("tokens", ["prompt_id", "sample", "position", "role"])
    tokens = tokens[~tokens["role"].isin(["template", "special"])].drop(columns="role")  # what was said
    slots = store.table("slots").query("slot >= 0").merge(tokens, on=["prompt_id", "sample", "position"])
    weights = slots.assign(bits=-slots.weight * np.log2(slots.weight.where(slots.weight > 0, 1)))
    key = ["prompt_id", "sample", "position", "layer"]
    tokens = len(slots.drop_duplicates(["prompt_id", "sample", "position"]))
    by_token = weights.groupby(key, observed=True)[["weight", "bits"]].sum()
    entropy = by_token.bits / by_token.weight + np.log2(by_token.weight)  # of the weights over their sum
    entropies = slots.join(entropy.rename("entropy"), on=key).groupby(["layer", "expert"])["entropy"].mean()
    counted, summed = slots.groupby(["layer", "expert"]).size(), slots.groupby(["layer", "expert"])["weight"].sum()
    return {
        "load": counted / counted.groupby("layer").sum(),
        "share of tokens": counted / tokens,
        "mean weight": summed / tokens,
        "entropy of its tokens' routing": entropies,
    }


def on_every_board(page, drawn, asked):
    """Measure by measure, as the page offers them: the board that is drawn, and what was asked for it."""
    boards, measures = {}, {}
    for name in page.selectbox(key="atlas-measure").options:
        page.selectbox(key="atlas-measure").set_value(name).run()
        shown(page)
        assert not page.error, (name, page.error)
        boards[name], measures[name] = drawn[-1], asked[-1]
    return boards, measures


def test_every_measure_that_is_offered_is_drawn_with_its_own_values(tmp_path, monkeypatch):
    """What the board gets is, expert by expert, what the probe says; and for the plain measures, what the rows say."""
    from workbench_app.dashboard.atlas import page as atlas_page

    drawn, asked, values_of = [], [], atlas_page.values_of
    monkeypatch.setattr(atlas_page, "board", lambda shown, *_: drawn.append(shown))
    monkeypatch.setattr(atlas_page, "values_of", lambda view, m: (asked.append(m), values_of(view, m))[1])
    page = page_of("atlas", "demo", tmp_path)
    boards, measures = on_every_board(page, drawn, asked)
    assert {n.split(":")[0] for n in boards} >= {"load", "fTRI", "contrast", "SAFEx", "nPMI", "largest output"}
    store = open_store(bundled_path("demo-store"))
    for name, expected in counted_by_hand(store).items():
        for (layer, expert), value in expected.items():
            assert boards[name].rows[layer][expert] == pytest.approx(value, rel=1e-4, abs=1e-7), (name, layer, expert)
    for name, measure in measures.items():
        if measure.method in ("", "usage"):
            continue
        frame = getattr(probes, measure.method)(store, **dict(measure.options)).frame
        for row in frame[~frame["is_shared"]].itertuples():
            on_board = boards[name].rows[row.layer][row.expert]
            assert (on_board is None) if row.score != row.score else on_board == row.score, (
                name,
                row.layer,
                row.expert,
            )
    empty = {n for n, made in boards.items() if not any(score for row in made.rows.values() for score in row)}
    assert {n.split(":")[0] for n in empty} <= {"SAFEx"}, "a group may have no expert, other scores are never all zero"
    told = [n for n in boards if n not in empty]
    assert len({json.dumps(list(boards[n].rows.values())) for n in told}) == len(told), (
        "two measures show the same numbers"
    )


def test_the_card_has_a_rank_in_every_probe(tmp_path):
    page = page_of("atlas", "demo", tmp_path, scored=True, layer="2")
    found = page.dataframe[-1].value.set_index("probe")
    assert shown(page)
    assert found["rank"].str.endswith(" of 128").all()
    assert found.loc["load", "rank"] == "7 of 128"


def test_a_token_that_does_not_occur_is_one_sentence(tmp_path):
    page = page_of("atlas", "demo", tmp_path)
    page.selectbox(key="atlas-measure").set_value(page.selectbox(key="atlas-measure").options[-1]).run()
    page.text_input(key="atlas-token").set_value(HOSTILE[:30]).run()
    shown(page)
    assert page.error


@pytest.mark.parametrize("name", ["atlas", "tokens"])
def test_a_model_without_a_store_says_what_to_do(tmp_path, name):
    assert any("make one under Captures and runs" in s for s in shown(page_of(name, "tiny/olmoe", tmp_path)))


def test_tokens_show_a_stored_sample_and_the_token_asked_for(tmp_path):
    page = page_of("tokens", "demo", tmp_path, layer="2")
    assert page.number_input(key="tokens-position").value == 15  # the last of the prompt
    page.number_input(key="tokens-position").set_value(3).run()
    assert page.dataframe[0].value["layer"].tolist() == [n for n in range(4) for _ in range(4)]
    page.number_input(key="tokens-position").set_value(22).run()
    assert any("was not routed" in s for s in shown(page))
    for by in page.selectbox(key="tokens-by").options:
        page.selectbox(key="tokens-by").set_value(by).run()
        shown(page)
        assert not page.error
    page.text_input(key="tokens-find").set_value("no such text").run()
    assert any("look for something else" in s for s in shown(page))


def test_a_typed_prompt_is_read_under_the_plan_and_the_dose_is_in_sight(tmp_path):
    page = page_of("tokens", "tiny/olmoe", tmp_path, plan="force L0E3")
    page.text_area(key="tokens-typed").set_value(HOSTILE)
    page.toggle(key="tokens-steered").set_value(True)
    page.button[0].click().run()
    assert any("Read under force L0E3. Dose:" in s and "slots changed" in s for s in shown(page))
    page.text_area(key="tokens-typed").set_value("x" * 100_000)
    page.button[0].click().run()
    assert any("shorten it" in s for s in shown(page))


def test_hostile_text_in_a_store_stays_text(tmp_path):
    hostile_store(tmp_path / "hostile")
    for name in ("atlas", "tokens"):
        page = page_of(name, "tiny/olmoe", tmp_path, f"--store={tmp_path / 'hostile'}")
        said = shown(page)
        assert not any("\x1b" in s or "\u202e" in s for s in said)
        assert all(m.value.startswith("**") for m in page.markdown)  # headings of ours
        assert not any(
            "![x]" in c.value or "<script" in c.value for c in [*page.caption, *page.info, *page.warning, *page.error]
        )
        for table in page.dataframe:
            assert "\x1b" not in table.value.to_csv()
