"""The parts of a plan, against each arm measured by itself in another way."""

import numpy as np
import pytest
import torch

from tests.support import families
from workbench import Plan, WorkbenchError, steered
from workbench.comparison import compare, decay, n_parts, parts, sink_share

TEXTS = [{"text": "what happened in 1957 was told"}, {"text": "four words of text"}]


def loss(model, plan: Plan) -> float:
    """Nats a token by transformers' own logits, text by text."""
    total, n = 0.0, 0
    with torch.no_grad(), steered(model, plan):
        for row in TEXTS:
            ids = torch.tensor([model.tokenizer(row["text"])["input_ids"]])
            logits = model.hf(ids, use_cache=False).logits[0, :-1].float()
            total += float(torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum"))
            n += ids.shape[1] - 1
    return total / n


def test_the_whole_the_members_the_pairs_and_random_experts_each_as_by_itself() -> None:
    model = families.get("demo")
    plan = Plan.mute(["L1E3", "L1E9", "L2E2"])
    found = parts(model, TEXTS, plan, controls=2, seed=1)
    same = [Plan.random_like(plan, model.anatomy, "layer", seed=1000 + draw) for draw in range(2)]
    pairs = [["L1E3", "L1E9"], ["L1E3", "L2E2"], ["L1E9", "L2E2"]]
    wanted = [("bare", Plan()), ("together", plan), *[("alone", Plan.mute(e)) for e in ("L1E3", "L1E9", "L2E2")]]
    wanted += [("pair", Plan.mute(some)) for some in pairs] + [("random, same layers", drawn) for drawn in same]
    assert found["arm"].tolist() == [arm for arm, _ in wanted]
    assert found["plan"].tolist() == ["", *[str(plan) for _, plan in wanted[1:]]]
    base, bare = loss(model, Plan()), sink_share(model, TEXTS)
    for row, (_, chosen) in zip(found.itertuples(), wanted, strict=True):
        assert row.loss == pytest.approx(loss(model, chosen), abs=1e-4)
        assert row.change == pytest.approx(row.loss - base, abs=1e-4)
        rates = decay(bare, sink_share(model, TEXTS, chosen))
        behind = [rate for layer, rate in rates.items() if layer > 1]
        assert row.decay == pytest.approx(np.mean(behind), abs=1e-6)
    assert n_parts(plan, 2) == len(found)
    assert found["slots_changed"][1] == found["slots_changed"][2:5].sum() > 0


def test_a_pair_is_its_members_and_the_whole_and_one_expert_is_no_group() -> None:
    model = families.get("mixtral")
    last = model.anatomy.moe_layers[-1]
    found = parts(model, TEXTS, Plan.mute([(last, 0), (last, 1)]), controls=0)
    assert found["arm"].tolist() == ["bare", "together", "alone", "alone"]
    assert found["decay"].isna().tolist() == [False, True, True, True]  # no attention behind the last layer
    assert parts(model, TEXTS, Plan.mute("L0E0"), controls=1)["arm"].tolist() == [
        "bare",
        "together",
        "random, same layers",
    ]


def test_for_the_only_shared_expert_of_a_layer_random_ones_lie_in_others() -> None:
    model = families.get("glm4_moe")
    layer = model.anatomy.moe_layers[0]
    found = parts(model, TEXTS, Plan.mute([f"L{layer}S0", f"L{layer}E1"]), controls=1)
    assert found["arm"].iloc[-1] == "random, any layers"
    assert f"L{layer}S0" not in found["plan"].iloc[-1]


def test_compare_has_the_same_parts_where_it_is_asked_for_them() -> None:
    model, plan = families.get("demo"), Plan.mute(["L1E3", "L1E9"])
    how = {
        "metrics": ["length"],
        "max_new_tokens": 1,
        "controls": {"count": 0, "layer": 1},
        "seed": 2,
        "progress": False,
    }
    found = compare(model, TEXTS, plan, parts=True, **how)
    assert found.parts.to_dict("list") == parts(model, TEXTS, plan, controls=1, seed=2).to_dict("list")
    assert [row["arm"] for row in found.to_dict()["parts"]] == found.parts["arm"].tolist()
    without = compare(model, TEXTS, plan, **how)
    assert without.parts.empty
    assert "parts" not in without.to_dict()


def test_what_cannot_be_measured_is_refused() -> None:
    model = families.get("demo")
    with pytest.raises(WorkbenchError, match="The plan is empty, so it has no parts"):
        parts(model, TEXTS, Plan())
    with pytest.raises(WorkbenchError, match="None of the 1 prompts gives text to be read"):
        parts(model, [{"prompt": "hello"}], Plan.mute("L0E0"))
    with pytest.raises(WorkbenchError, match="None of the 1 prompts gives text to be read"):
        compare(model, [{"prompt": "hello"}], Plan.mute("L0E0"), metrics=["length"], parts=True, progress=False)
    with steered(model, Plan.mute("L0E0")), pytest.raises(WorkbenchError, match="outside `with steered`"):
        parts(model, TEXTS, Plan.mute("L0E1"))
