"""What the Atlas says of an expert and the Tokens page of a text: counted by hand on a store of a few tokens."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from workbench_app.dashboard.texts.path import path_links, path_table, shown_layers
from workbench_app.dashboard.texts.token_colours import COLOURINGS, EXPERT, ONE_EXPERT, coloured
from workbench_app.dashboard.texts.trace import LayerTrace, Trace, stored_trace, typed_trace
from workbench_app.experts.facts import by_position, by_role, contexts, partners, selected_by, top_tokens

from tests.support import families
from workbench import Plan, WorkbenchError, steered
from workbench.anatomy import Anatomy, LayerAnatomy
from workbench.store import write_store

SHAPE = Anatomy("tiny", "qwen3_moe", 8, 9, "weights", (LayerAnatomy(0, 3, 2), LayerAnatomy(1, 3, 2)))
# two responses of three tokens; the last of each was never routed
ROUTES = {("a", 0): (0, 1), ("a", 1): (0, 2), ("b", 0): (1, 2), ("b", 1): (2, 0)}


@pytest.fixture
def store(tmp_path):
    tokens = [
        (p, i, 7 if i == 1 else i, [" in", "<b>", "!"][i], "user" if i < 2 else "assistant")
        for p in "ab"
        for i in range(3)
    ]
    rows = [
        (p, i, layer, slot, e, [0.75, 0.25][slot], 10.0 * (e + 1), 1.0)
        for (p, i), chosen in ROUTES.items() for layer in (0, 1) for slot, e in enumerate(chosen)
    ]  # fmt: skip
    columns = ["prompt_id", "position", "layer", "slot", "expert", "weight", "output_l2", "output_max_abs"]
    tables = {
        "prompts": pd.DataFrame({"prompt_id": ["a", "b"], "text": "in", "n_tokens": 2}),
        "tokens": pd.DataFrame(tokens, columns=["prompt_id", "position", "token_id", "token", "role"]).assign(
            sample=0, generated=False
        ),
        "slots": pd.DataFrame(rows, columns=columns).assign(sample=0),
    }
    return write_store(tmp_path / "store", SHAPE, tables)


def test_top_tokens_count_only_routed_tokens_and_rank_by_npmi(store):
    found = top_tokens(store, selected_by(store.routing(0), 0), at_least=1)
    # expert 0: " in" of a, "<b>" of a and b; 4 routed tokens
    assert found[["token", "selected", "of"]].to_numpy().tolist() == [["<b>", 2, 2], [" in", 1, 2]]
    assert found["lift"].tolist() == pytest.approx([4 / 3, 2 / 3])
    assert found["nPMI"].tolist() == pytest.approx([math.log2(4 / 3) / math.log2(2), math.log2(2 / 3) / math.log2(4)])
    assert top_tokens(store, selected_by(store.routing(0), 0), at_least=3).empty


def test_top_tokens_are_those_of_the_probe(store):
    from probes import npmi

    found = top_tokens(store, selected_by(store.routing(1), 0), at_least=1).set_index("token")["nPMI"]
    for token, value in found.items():
        frame = npmi(store, token=str(token), n_permutations=0, n_bootstrap=0).frame
        probe = frame[(frame["layer"] == 1) & (frame["expert"] == 0)]["score"].item()
        assert value == pytest.approx(probe)


def test_contexts_stay_in_their_response_the_largest_weight_first(store):
    found = contexts(store, selected_by(store.routing(0), 2), around=5)
    assert [tuple(c) for c in found] == [(3, 5, 4), (0, 2, 1)]  # weight 0.75 in b, 0.25 in a


def test_positions_and_roles_have_their_numbers(store):
    found = selected_by(store.routing(0), 0)
    assert by_position(store, found).to_numpy().tolist() == [[0, 0.5, 2], [1, 1.0, 2]]
    roles = by_role(store, found).set_index("tokens")
    assert roles.loc["role user"].tolist() == [0.75, 4]
    assert "role assistant" not in roles.index  # none of them was routed


def test_partners_are_shares_of_the_experts_own_tokens():
    rows = [(0, 1, 2, 0.25, 0.25, 1.0), (1, 2, 2, 0.25, 0.125, 2.0), (0, 2, 0, 0.0, 0.125, 0.0)]
    pairs = pd.DataFrame(rows, columns=["expert", "other_expert", "n", "share", "expected", "lift"])
    assert partners(pairs, 0, 0.5).to_numpy().tolist() == [[1, 0.5, 0.5, 1.0]]
    assert partners(pairs, 2, 0.25).to_numpy().tolist() == [[1, 1.0, 0.5, 2.0]]
    assert partners(pairs, 3, 0.25).empty


def test_a_stored_sample_gives_its_own_routing(store):
    trace = stored_trace(store, "b", 0)
    assert trace.tokens == (" in", "<b>", "!")
    assert trace.at(1, 1) == [(2, 0.75, 30.0, 1.0), (0, 0.25, 10.0, 1.0)]
    assert trace.at(0, 2) == []
    with pytest.raises(WorkbenchError, match="no sample 3"):
        stored_trace(store, "b", 3)


def test_colours_say_what_the_routing_was(store):
    trace = stored_trace(store, "a", 0)
    made = coloured(trace, 0, EXPERT)
    assert made.chips[0].colour == made.chips[1].colour != made.chips[2].colour == ""
    assert "not routed" in made.chips[2].tip
    assert made.chips[2].kind == "quiet"
    assert made.legend[0].text.strip() == "E0 \u00d7 2"
    one = coloured(trace, 0, ONE_EXPERT, 1)
    assert [bool(c.colour) for c in one.chips] == [True, False, False]
    margin = coloured(trace, 0, "margin between the two largest weights")
    assert "0.5" in margin.chips[0].tip


def test_a_path_has_as_much_weight_in_every_layer(store):
    table = path_table(stored_trace(store, "a", 0), 0)
    links = path_links(table, [0, 1])
    assert links["share"].sum() == pytest.approx(1.0)
    assert links[links["from"] == "L0E0"]["share"].sum() == pytest.approx(0.75)
    assert shown_layers(range(48), 40) == list(range(34, 46))
    assert shown_layers(range(4), 3) == [0, 1, 2, 3]


@pytest.mark.parametrize("written", ["", "force L0E3", "off L0E0"])
def test_a_typed_prompt_shows_what_the_experts_received(written):
    model = families.get("olmoe")
    plan = Plan.parse(written, model.anatomy) if written else None
    trace = typed_trace(model, "hello", as_chat=False, plan=plan)
    assert "".join(trace.tokens).startswith("hello")
    chosen = {e for i in range(trace.n_prompt) for e, *_ in trace.at(0, i)}
    assert not written or (3 in chosen if "force" in written else 0 not in chosen)
    assert (trace.dose is None) == (not written)
    assert all(l2 > 0 for _, _, l2, _ in trace.at(1, 0))


def test_reading_a_prompt_leaves_the_model_as_it_was():
    model = families.get("olmoe")
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        before = model.hf(ids).logits
        typed_trace(model, "hello", as_chat=False, plan=Plan.off("L0E0"))
        assert torch.equal(model.hf(ids).logits, before)
        with steered(model, Plan.off("L0E0")):
            assert not torch.equal(model.hf(ids).logits, before)  # that plan does change something


def test_a_prompt_that_does_not_fit_is_one_sentence():
    with pytest.raises(WorkbenchError, match="shorten it"):
        typed_trace(families.get("olmoe"), "x" * 100_000, as_chat=False)


def two_layers() -> Trace:
    """Two tokens; what layer 0 says and what layer 3 says differ in every number."""
    first = LayerTrace(np.array([[0, 1], [2, 0]]), np.array([[0.75, 0.25], [0.5, 0.5]]), np.array([[1.0, 9.0], [4.0, 3.0]]),
                       np.array([[0.5, 2.0], [8.0, 1.0]]))  # fmt: skip
    last = LayerTrace(np.array([[1, 2], [1, 0]]), np.array([[1.0, 0.0], [0.875, 0.125]]), np.array([[6.0, 5.0], [7.0, 2.0]]),
                      np.array([[3.0, 1.5], [0.25, 6.0]]))  # fmt: skip
    return Trace((" a", " b"), ("user", "user"), 2, {0: first, 3: last})


@pytest.mark.parametrize(
    ("by", "layer", "said"),
    [
        ("entropy", 0, [-(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25)), 1.0]),
        ("entropy", 3, [0.0, -(0.875 * math.log2(0.875) + 0.125 * math.log2(0.125))]),
        ("margin", 0, [0.5, 0.0]),
        ("margin", 3, [1.0, 0.75]),
        ("L2", 0, [9.0, 4.0]),
        ("L2", 3, [6.0, 7.0]),
        ("largest |value|", 0, [2.0, 8.0]),
        ("largest |value|", 3, [3.0, 6.0]),
        (ONE_EXPERT, 0, [0.25, None]),
        (ONE_EXPERT, 3, [1.0, 0.875]),
    ],
)
def test_a_text_is_coloured_by_the_numbers_of_its_own_layer(by, layer, said):
    name = next(n for n in COLOURINGS if by in n)
    found = coloured(two_layers(), layer, name, expert=1)
    shown = [chip.tip.rpartition(": ")[2] if chip.colour else None for chip in found.chips]
    assert shown == [None if value is None else f"{value:.4g}" for value in said]
    known = [value for value in said if value is not None]
    assert [found.legend[0].text.strip(), found.legend[-1].text.strip()] == [f"{min(known):.3g}", f"{max(known):.3g}"]


def test_the_legend_of_experts_counts_those_with_the_largest_weight_of_its_layer():
    assert [c.text.strip() for c in coloured(two_layers(), 0, EXPERT).legend] == ["E0 \u00d7 1", "E2 \u00d7 1"]
    assert [c.text.strip() for c in coloured(two_layers(), 3, EXPERT).legend] == ["E1 \u00d7 2"]
