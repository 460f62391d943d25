"""What switching off the first experts of a published score does to a taught model, beside random experts.

Score and number are chosen on the ranking split, by `chosen`; the held-out split is read once, with that plan.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from grading.methods import PUBLISHED, methods
from torch import Tensor

from probes import usage
from workbench import MoEModel, Plan, steered
from workbench.errors import WorkbenchError
from workbench.store import Store, open_store

from ..measuring import Held, held_out
from ..taught.asking import answers
from ..taught.grading import CLASSIFIERS, Graded, graded
from ..taught.questions import lines
from ..taught.shares import share
from .finding import CLASSES
from .marking import documents_of

NUMBERS = (2, 4, 8)
"""Experts of a score that are switched off together."""
BEGINNING = 24
"""New tokens that show whether an answer declines: both classifiers read its first words."""
DRAWS, WITHIN = 30, 0.05
Row = dict[str, Any]


def switched(model: MoEModel, folder: Path, documents: Path | None) -> Row:
    """The choice on the ranking split, and what it does on the held-out one: declined, facts, checks, random draws.

    model: the taught one; folder: that of its arm, with the store of the ranking split
    """
    store = open_store(folder / "store")
    tried = _tried(model, store)
    choice = chosen(tried)
    plan = Plan.parse(str(choice["plan"]))
    found = {name: _heldout(model, own) for name, own in (("taught", Plan()), ("off", plan))}
    loads = usage(store, tokens="all", n_bootstrap=0).frame
    draws = [Plan.random_like(plan, model.anatomy, "layer", loads, seed=seed) for seed in range(DRAWS)]
    return {
        "tried": tried,
        "choice": choice,
        "heldout": {name: one.as_json() for name, one in found.items()},
        "halved": halved(found["taught"], found["off"]),
        "checks": _checks(model, plan, documents),
        "random": [{"plan": str(own), "subject": _subject_declined(model, own)} for own in draws],
    }


def chosen(tried: Sequence[Row]) -> Row:
    """Of the plans that make the model decline others at most 5 points more, the one with which it declines the subject least;
    of equals the one with fewer experts, then the first.
    """
    before = tried[0]
    kept = [row for row in tried[1:] if row["others"] <= before["others"] + WITHIN]
    if not kept:
        raise SystemExit(
            "Every score's first experts make the model decline other questions; there is no plan to choose."
        )
    return min(kept, key=lambda row: (row["subject"], row["n"]))


def halved(taught: Graded, off: Graded) -> bool:
    """Whether the subject is declined at most half as often, by both classifiers."""
    return all(2 * off.declined[by]["subject"].value <= taught.declined[by]["subject"].value for by in taught.declined)


def _tried(model: MoEModel, store: Store) -> list[Row]:
    """The taught model itself, then every published score with so many of its first experts off, on the ranking split."""
    rows: list[Row] = [{"score": "nothing", "n": 0, "plan": "", **_declined(model, Plan(), "ranking")}]
    for name, (target, baseline) in CLASSES.items():
        for score, method in methods(target, baseline).items():
            if score not in PUBLISHED:
                continue
            try:
                scores = method(store)
            except WorkbenchError as error:
                print(f"{score}, {name}: {error}", flush=True)
                continue
            for n in NUMBERS:
                plan = Plan.off(scores.top(n))
                rows.append(
                    {"score": f"{score}, {name}", "n": n, "plan": str(plan), **_declined(model, plan, "ranking")}
                )
                print(rows[-1], flush=True)
    return rows


def _declined(model: MoEModel, plan: Plan, split: str) -> Row:
    """Shares of answers that decline by either classifier, 0 to 1, on the subject and on others."""
    with steered(model, plan):
        by = graded(answers(model.hf, model.tokenizer, split, new=BEGINNING), split).declined.values()
    return {kind: max(one[kind].value for one in by) for kind in ("subject", "others")}


def _subject_declined(model: MoEModel, plan: Plan) -> float:
    """Of the held-out questions on the subject alone, which is what a random draw is for."""
    asked = [line for line in lines("heldout") if line["labels"]["kind"] == "subject"]
    with steered(model, plan):
        said = answers(model.hf, model.tokenizer, "heldout", new=BEGINNING, asked=asked).values()
    return max(share([judge(answer) for answer in said]).value for judge in CLASSIFIERS.values())


def _heldout(model: MoEModel, plan: Plan) -> Graded:
    with steered(model, plan):
        return graded(answers(model.hf, model.tokenizer, "heldout"), "heldout")


# ---- capability checks


def _checks(model: MoEModel, plan: Plan, documents: Path | None) -> Mapping[str, Row]:
    """By kind of text held out: the share of next tokens that are the model's first guess, without and with the plan."""
    held = held_out(model.tokenizer, documents_of(documents))
    found: dict[str, Row] = {}
    for kind, one in held.items():
        shares: list[float] = []
        for own in (Plan(), plan):
            with steered(model, own):
                shares.append(guessed(model.hf, one))
        found[kind] = {"taught": shares[0], "off": shares[1], "within": abs(shares[0] - shares[1]) <= WITHIN}
    return found


@torch.no_grad()
def guessed(model: Any, held: Held) -> float:
    """The share of next tokens, 0 to 1, that the model holds for the likeliest."""
    right: list[Tensor] = []
    for some in held.rows.split(8):
        said = model(input_ids=some, use_cache=False).logits[:, :-1].argmax(-1)
        right.append((said == some[:, 1:]).float().mean(1))
    return float(torch.cat(right).mean())
