"""A planted effect of known size is recovered: the right expert comes first, and the interval covers the true size.

An expert of the last layer is `replace`d by a direction that the unembedding reads as one token that the model never says there.
So a prompt is answered with that token exactly where its last token selects the expert, and the size of the effect is the share
of prompts that do: known by counting selections in the base model, without any response.
"""

from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from probes import ftri
from tests.support import families
from workbench import ExpertRef, Plan, PromptSet, capture, compare, read_prompts
from workbench.prompts import Prompt
from workbench.responses import Response
from workbench.store import Store

FILES = ("refusal", "refusal_heldout", "thinking", "language", "code_prose", "faithfulness")
SEEDS, N_PROMPTS, ENOUGH = 100, 64, 90
STRENGTH = 1e4
WORD = " lived"

pytestmark = pytest.mark.slow


class Planted(NamedTuple):
    """An expert, the plan that plants the effect, its true size, and a store of the whole population under the plan.

    tied  share of prompts whose last token selects the expert, or does not, by no more than a rounding
    """

    expert: ExpertRef
    plan: Plan
    size: float
    tied: float
    store: Store


@cache
def population() -> tuple[Prompt, ...]:
    return tuple(prompt for name in FILES for prompt in read_prompts(name))


def says(response: Response) -> bool:
    return response.strip().startswith(WORD.strip())


@cache
def direction() -> np.ndarray:
    """[hidden]: what the final norm and the unembedding turn into `WORD`, and into no other token."""
    hf, ids = families.get("demo").hf, families.get("demo").tokenizer(WORD, add_special_tokens=False)["input_ids"]
    rows = hf.lm_head.weight.detach().double() * hf.model.norm.weight.detach().double()
    found = torch.linalg.lstsq(rows.T @ rows, rows[ids[0]]).solution  # least squares: 1 for the word, 0 for the others
    assert int((rows @ found).argmax()) == ids[0]
    return (STRENGTH * found / found.norm()).float().numpy()


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Planted, ...]:
    """Five experts of the last layer that a tenth to six tenths of the prompts' last tokens select."""
    model, layer, folder = (
        families.get("demo"),
        families.moe_layer(families.get("demo")),
        tmp_path_factory.mktemp("planted"),
    )
    base = capture(model, PromptSet(population()), folder / "base", keep={"logits"}, progress=False)
    slots = base.table("slots", ["prompt_id", "position", "expert"], layers=[layer])
    at = base.prompts.set_index("prompt_id").n_tokens
    last = slots.position == slots.prompt_id.map(at).astype(int) - 1
    share = slots[last].groupby("expert").size() / len(population())
    chosen = [ExpertRef(layer, int(e)) for e in share[(share > 0.1) & (share < 0.6)].index]
    assert len(chosen) >= 4
    table = base.table("logits", layers=[layer])
    logits = np.stack(list(table[table.position == table.prompt_id.map(at).astype(int) - 1].router_logits))
    assert len(logits) == len(population())
    return tuple(_plant(e, float(share[e.expert]), tied(logits, e.expert), folder) for e in chosen[:5])


def tied(logits: np.ndarray, expert: int) -> float:
    """Share of rows [prompts, experts] in which the expert is within a rounding (1e-4) of the edge of the best k."""
    k = families.get("demo").anatomy.layer(families.moe_layer(families.get("demo"))).top_k
    ranked, own = np.sort(logits, 1)[:, ::-1], logits[:, expert]
    gap = np.where(own >= ranked[:, k - 1], own - ranked[:, k], ranked[:, k - 1] - own)
    return float((gap < 1e-4).mean())


def _plant(expert: ExpertRef, size: float, near: float, folder: Path) -> Planted:
    plan = Plan.replace([expert], direction())
    store = capture(
        families.get("demo"),
        PromptSet(population()),
        folder / str(expert),
        keep=set(),
        generate=1,
        plan=plan,
        progress=False,
    )
    return Planted(expert, plan, size, near, store)


def test_the_expert_comes_first_and_the_interval_covers_the_size(planted: tuple[Planted, ...]) -> None:
    first, covered = 0, 0
    for seed in range(SEEDS):
        rng, one = np.random.default_rng(seed), planted[seed % len(planted)]
        drawn = [population()[i] for i in rng.integers(len(population()), size=N_PROMPTS)]
        ids = {prompt.id for prompt in drawn}
        scores = ftri(
            one.store,
            target="yes",
            baseline="no",
            classifier=lambda r, ids=ids: ("yes" if says(r) else "no") if r.prompt_id in ids else None,
            tokens="last_prompt",
            n_permutations=0,
            n_bootstrap=0,
        )
        first += scores.top(1) == (one.expert,)
        low, high = effect(one.plan, drawn, seed)
        covered += low <= one.size <= high
    print(f"first {first}, covered {covered} of {SEEDS}")
    assert first == SEEDS
    assert covered >= ENOUGH, covered


def effect(plan: Plan, drawn: list[Prompt], seed: int) -> tuple[float, float]:
    """The interval that `compare` states for the share of prompts that say the word."""
    asked = [{"id": f"{n}", "messages": [dict(m) for m in p.messages or ()]} for n, p in enumerate(drawn)]
    found = compare(
        families.get("demo"),
        asked,
        plan,
        metrics={"says": says},
        controls=0,
        max_new_tokens=1,
        seed=seed,
        progress=False,
    ).metrics.iloc[0]
    assert found.base == 0
    return found.low, found.high


def test_the_planted_effect_is_what_counting_selections_says(planted: tuple[Planted, ...]) -> None:
    """Nothing but the expert says the word: over the whole population the share is the size, to the last prompt not tied."""
    one = planted[0]
    assert one.tied < 0.01
    found = compare(
        families.get("demo"),
        PromptSet(population()),
        one.plan,
        metrics={"says": says},
        controls=0,
        max_new_tokens=1,
        progress=False,
    ).metrics.iloc[0]
    assert found.steered == pytest.approx(one.size, abs=one.tied + 1e-12)
    assert found.base == 0
