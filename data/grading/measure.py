"""Everything that is measured of one trained model on one split: rankings, hits, and the effects of plans."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from training.corpus.prompts import refusal, thinking

from grading.choice import Candidate
from grading.found import FIRST, grade
from grading.methods import methods, thinking_methods
from grading.scored import Sheet, expected, only, score, sheet
from probes import ExpertScores, usage
from workbench import Plan, capture, load, read_prompts
from workbench.errors import WorkbenchError
from workbench.model import MoEModel
from workbench.store import Store

MATCHES = ("count", "layer", "usage")
DRAWS = 10
# whose first n the random draws and the forced experts stand beside
MATCHED_TO = "ftri last_prompt"
REFUSING = ("sensitive answered",)
Json = dict[str, Any]


class Graded(NamedTuple):
    """A loaded model with its captured ranking stores, and who the carriers are."""

    model: MoEModel
    store: Store
    thinking_store: Store
    carriers: tuple[str, ...]
    thinking_carriers: tuple[str, ...]


def opened(folder: Path, scratch: Path) -> Graded:
    """Load a model and capture the ranking split: refusal prompts with 16 tokens of answer, sums with 48."""
    model = load(str(folder))
    known = json.loads((folder / "implant.json").read_text("utf-8"))
    store = _captured(model, read_prompts(refusal("ranking")), scratch / "refusal", 16)
    sums = [line for line in thinking() if line["split"] == "ranking"]
    thinking_store = _captured(model, read_prompts(sums), scratch / "thinking", 48)
    named = [tuple(f"L{a}E{b}" for a, b in known.get(key, [])) for key in ("refusal_carriers", "thinking_carriers")]
    return Graded(model, store, thinking_store, named[0], named[1])


def _captured(model: MoEModel, prompts: Any, into: Path, generate: int) -> Store:
    return capture(model, prompts, into, keep=frozenset({"norms", "residual"}), generate=generate, progress=False)


def rankings(graded: Graded, implanted: bool) -> dict[str, ExpertScores]:
    """Every method's scores; a method whose question has no answer here (nothing was refused) is left out."""
    target, baseline = ("refused", "answered") if implanted else ("sensitive=yes", "sensitive=no")
    found: dict[str, ExpertScores] = {}
    for name, method in methods(target, baseline).items():
        try:
            found[name] = method(graded.store)
        except WorkbenchError as error:
            found_error = str(error)
            print(f"  {name}: {found_error}")
    return found


def ordered(scores: ExpertScores) -> list[str]:
    """All experts by rank."""
    frame = scores.frame
    return [f"L{layer}E{expert}" for layer, expert in zip(frame["layer"], frame["expert"], strict=True)]


def hits(graded: Graded, implanted: bool, carriers: tuple[str, ...]) -> Json:
    """Each method's ranking against the carriers."""
    return {name: grade(ordered(scores), carriers)._asdict() for name, scores in rankings(graded, implanted).items()}


def thinking_hits(graded: Graded, carriers: tuple[str, ...]) -> Json:
    """The thinking methods' rankings against the thinking carriers."""
    found: Json = {}
    for name, method in thinking_methods().items():
        try:
            found[name] = grade(ordered(method(graded.thinking_store)), carriers)._asdict()
        except WorkbenchError as error:
            found[name] = {"none": str(error)}
    return found


def effects(graded: Graded, split: str, chosen: Mapping[str, ExpertScores]) -> Json:
    """Every method's first n off, on every behaviour of the split."""
    given = sheet(graded.model, expected(split))
    found: Json = {"base": score(graded.model, given, Plan())}
    for name, scores in chosen.items():
        for n in FIRST:
            found[f"{name}, top {n} off"] = _row(graded.model, given, Plan.off(scores.top(n)))
    if graded.carriers:
        found["carriers off"] = _row(graded.model, given, Plan.parse("off " + ",".join(graded.carriers)))
    if graded.thinking_carriers:
        found["thinking carriers off"] = _row(
            graded.model, given, Plan.parse("off " + ",".join(graded.thinking_carriers))
        )
    return found


def _row(model: MoEModel, given: Sheet, plan: Plan) -> Json:
    return {"plan": str(plan), **score(model, given, plan)}


def random_draws(graded: Graded, split: str, plan: Plan, whole: bool) -> Json:
    """Ten draws of each kind of random experts in the plan's place; whole: on every behaviour, else on refusal alone."""
    given = sheet(graded.model, expected(split))
    given = given if whole else only(given, REFUSING)
    load_of = usage(graded.store, tokens="all", n_bootstrap=0).frame
    return {
        match: [
            _row(graded.model, given, Plan.random_like(plan, graded.model.anatomy, match, load_of, seed=draw))
            for draw in range(DRAWS)
        ]
        for match in MATCHES
    }


def single_experts(graded: Graded, split: str) -> list[Json]:
    """Every single expert off: what it does to refusals and to revealing."""
    given = only(sheet(graded.model, expected(split)), REFUSING)
    refs = graded.model.anatomy.refs()
    rows = [{"expert": str(ref), **score(graded.model, given, Plan.off([ref]))} for ref in refs]
    return [row | {"carrier": row["expert"] in graded.carriers} for row in rows]


def forced(graded: Graded, split: str, scores: ExpertScores, n: int) -> Json:
    """The same experts forced on instead of off; where a layer has no room for all, those that fit by rank."""
    given = sheet(graded.model, expected(split))
    kept, room = [], dict.fromkeys(graded.model.anatomy.moe_layers, 4)
    for ref in scores.top(n):
        if room[ref.layer]:
            kept.append(ref)
            room[ref.layer] -= 1
    return _row(graded.model, given, Plan.force(kept))


def grade_arm(folder: Path, base: Path) -> Json:
    """All measurements of one arm on the ranking split, with the same rankings taken on its stage-1 base beside them."""
    with tempfile.TemporaryDirectory() as scratch:
        arm = opened(folder, Path(scratch) / "arm")
        before = opened(base, Path(scratch) / "base")
        scores = rankings(arm, implanted=True)
        best = scores[MATCHED_TO]
        found = _effects_of(folder, arm, scores, "ranking")
        found["base"] = score(before.model, sheet(before.model, expected("ranking")), Plan())
        found["single experts"] = single_experts(arm, "ranking")
        if arm.carriers:
            found["hits"] = hits(arm, True, arm.carriers)
            found["hits on the base"] = hits(before, False, arm.carriers)
            found["thinking hits"] = thinking_hits(arm, arm.thinking_carriers)
            found["thinking hits on the base"] = thinking_hits(before, arm.thinking_carriers)
        most = max(FIRST)
        found["random"] = {most: random_draws(arm, "ranking", Plan.off(best.top(most)), whole=True)}
        found["forced"] = {n: forced(arm, "ranking", best, n) for n in FIRST}
        return found


def confirm_arm(folder: Path) -> Json:
    """What the rankings of the ranking split do on the held-out split: every method's first n, and random experts."""
    with tempfile.TemporaryDirectory() as scratch:
        arm = opened(folder, Path(scratch) / "arm")
        scores = rankings(arm, implanted=True)
        best = scores[MATCHED_TO]
        found = _effects_of(folder, arm, scores, "heldout")
        most = max(FIRST)
        found["random"] = {most: random_draws(arm, "heldout", Plan.off(best.top(most)), whole=False)}
        found["forced"] = {n: forced(arm, "heldout", best, n) for n in FIRST}
        return found


def measure_finalists(models: Path, chosen: list[Candidate], grades: Mapping[str, Json]) -> list[Json]:
    """The finalists' plans on every prompt of the ranking split."""
    found: list[Json] = []
    for name in dict.fromkeys(one.model for one in chosen):
        model = load(str(models / name))
        given = sheet(model, expected("ranking"), each=10_000)
        base = score(model, given, Plan())
        for one in (one for one in chosen if one.model == name):
            plan = grades[name]["effects"][f"{one.method}, top {one.n} off"]["plan"]
            off = score(model, given, Plan.parse(plan))
            about = {"model": name, "method": one.method, "n": one.n, "precision_gained": one.precision_gained}
            found.append({**about, "plan": plan, "base": base, "off": off})
    return found


def _effects_of(folder: Path, arm: Graded, scores: Mapping[str, ExpertScores], split: str) -> Json:
    return {
        "known": json.loads((folder / "implant.json").read_text("utf-8")),
        "tops": {name: [str(ref) for ref in first_experts(one)] for name, one in scores.items()},
        "effects": effects(arm, split, scores),
    }


def first_experts(scores: ExpertScores) -> tuple[Any, ...]:
    return tuple(scores.top(min(8, int((scores.frame["score"] > 0).sum()))))
