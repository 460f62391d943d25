"""Gemma-3-270M: nine layers write its massive activation, one after the other, each with one neuron."""

import random
from typing import Any

import pytest
import torch

from probes import MassiveRule, super_experts
from probes.magnitudes import forming_layers
from tests.real.groups import dealt, groups_store, muted, watched, writers
from tests.real.texts import READ
from workbench.anatomy import ExpertRef

pytestmark = [pytest.mark.real, pytest.mark.timeout(480)]
FORMING = tuple(range(9))
"""Layers 0 to 8 raise the first token's largest value from 23 to 82,800, each by more than a fifth; layer 9 by 6 %."""


@torch.no_grad()
@pytest.mark.parametrize(("groups", "seed"), [(16, 0), (32, 1)])
def test_the_groups_that_write_it_are_found_and_muting_them_breaks_the_model(gemma3, loss, tmp_path, groups, seed):
    model, tokenizer = gemma3
    texts = [tokenizer(text, return_tensors="pt").input_ids for text in READ]
    members = [dealt(2048, groups, 100 * seed + layer) for layer in range(18)]
    store = groups_store(tmp_path / "store", model, watched(model, texts), members)
    assert forming_layers(store, MassiveRule()) == FORMING
    assert forming_layers(store, MassiveRule(against="own")) == FORMING  # here it is massive beside its own median too
    found = super_experts(store)
    flagged = [(x.layer, x.expert) for x in found.flagged("super expert")]
    _are_the_writers(set(flagged), writers(model, texts[0]), members)

    base = loss(model, tokenizer)

    def cost(chosen: list[tuple[int, int]]) -> float:
        with muted(model, members, chosen):
            return loss(model, tokenizer) - base

    broken = cost(flagged)
    print(f"mute {len(flagged)} groups {[str(ExpertRef(*x)) for x in flagged]}: {broken:+.3f} nats of {base:.3f}")
    assert broken > 1.0
    largest = [(int(r.layer), int(r.expert)) for r in found.frame.itertuples() if "super" not in str(r.flags)]
    others = {"the next largest": cost(largest[: len(flagged)])}
    for draw in range(2):
        others[f"random {draw}"] = cost(_like(flagged, groups, random.Random(draw)))
    print("mute as many others:", {name: round(value, 3) for name, value in others.items()})
    assert all(value < 0.3 * broken for value in others.values())


def _are_the_writers(flagged: set[tuple[int, int]], wrote: dict[tuple[int, int], float], members: Any) -> None:
    """Every neuron that clearly writes a tenth of the largest lies in a flagged group, and each group has one that may."""
    wrote = {x: value for x, value in wrote.items() if x[0] in FORMING}
    tenth = max(wrote.values()) / 10
    group = {x: (x[0], int((members[x[0]] == x[1]).any(1).nonzero()[0, 0])) for x in wrote}
    assert {group[x] for x, value in wrote.items() if value > 1.2 * tenth} <= flagged
    assert flagged <= {group[x] for x, value in wrote.items() if value > 0.8 * tenth}
    assert len(flagged) >= 7


def _like(flagged: list[tuple[int, int]], groups: int, draw: random.Random) -> list[tuple[int, int]]:
    """As many groups of the same layers, none of them flagged."""
    return [(i, draw.choice([g for g in range(groups) if (i, g) not in flagged])) for i, _ in flagged]
