"""The main job on the bundled model: capture, rank, choose on one split, measure on another, report.

Ranking and the number of experts use data/prompts/refusal.jsonl; every effect is measured on held-out prompts.
"""

import json as jsonlib
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from workbench import Plan, capture, read_prompts
from workbench.paths import given_path

from .checks import TOKENS
from .choice import committed_choice, implanted
from .findings import Findings, ranking_of
from .measure import force, measure, plans_of, refusals_left, units
from .report import write_report
from .stages import Stages, stages
from .summary import print_summary
from .terminal import open_model, print_json, say

if TYPE_CHECKING:
    from workbench import MoEModel, Store

THINKERS = 4
"""How many of nPMI's first experts are switched off to see whether they matter."""


def run(out: Path, json: bool = False, source: str = "demo") -> Findings:
    """The whole demo: writes OUT/report.html, findings.json, plan.json and two stores, and prints a table."""
    out = given_path(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.html").touch()  # a folder that cannot be written is found out now, not after the work
    model = open_model(source, "cpu", "auto")
    with stages(units()) as work:
        found = _work(model, out, work)
    found = replace(found, implanted=implanted() if source == "demo" else {})
    (out / "findings.json").write_text(jsonlib.dumps(found.to_dict(), indent=1) + "\n", encoding="utf-8")
    write_report(found, out / "report.html")
    if json:
        print_json(found.to_dict())
    else:
        print_summary(found)
        say(f"Report: {out / 'report.html'}")
        say(f'Plan: {out / "plan.json"}; try workbench steer demo --plan {out / "plan.json"} --prompt "..."')
    return found


def _work(model: "MoEModel", out: Path, work: Stages) -> Findings:
    from probes import ftri, npmi, super_experts

    store, thoughts = capture_both(model, out, work)
    committed = committed_choice()
    with work.stage("Ranking experts", 1):
        scores = ftri(store, target="refused", baseline="answered", **committed.options)
        thinkers, extremes = npmi(thoughts), super_experts(store)
    plans = plans_of(scores, committed.n)
    left = refusals_left(model, plans, work)
    chosen = committed.n if committed.n in plans else left.smallest_that_halves()
    plans[chosen].to_json(out / "plan.json")
    arms = tuple(measure(model, n, plan, work) for n, plan in plans.items())
    thinking_arm = measure(model, THINKERS, Plan.off(thinkers.top(THINKERS)), work)
    forced, notes = force(model, scores, chosen, work)
    anatomy = model.anatomy
    return Findings(
        model=anatomy.model,
        fingerprint=anatomy.fingerprint,
        n_layers=len(anatomy.layers),
        n_experts=anatomy.n_experts,
        top_k=max(x.top_k for x in anatomy.layers),
        refusal=ranking_of(scores),
        thinking=ranking_of(thinkers),
        extremes=ranking_of(extremes),
        residual=_residual(store),
        left_base=left.base,
        left=left.by_n,
        is_committed=committed.n == chosen,
        chosen=chosen,
        arms=arms,
        thinking_arm=thinking_arm,
        forced=forced,
        notes=notes,
        seconds=dict(work.seconds),
        versions={name: version(name) for name in ("torch", "transformers")},
    )


def capture_both(model: "MoEModel", out: Path, work: Stages) -> "tuple[Store, Store]":
    """What the experts do while the model answers the ranking prompts, and while it does sums."""
    asked, sums = read_prompts("refusal"), read_prompts("thinking").filter(split="ranking")
    with work.stage("Capturing refusals", len(asked)):
        store = capture(model, asked, out / "stores" / "refusal", generate=TOKENS["refusal_heldout"], progress=False)
    with work.stage("Capturing sums", len(sums)):
        thoughts = capture(model, sums, out / "stores" / "thinking", generate=TOKENS["thinking"], progress=False)
    return store, thoughts


def _residual(store: "Store") -> tuple[tuple[int, float], ...]:
    """Largest absolute value of the residual stream after each layer (-1: the embedding)."""
    largest: dict[int, float] = {}
    for batch in store.scan("residual", ["layer", "max_abs"]):
        layer = batch["layer"][0].as_py()
        largest[layer] = max(largest.get(layer, 0.0), *batch["max_abs"].to_pylist())
    return tuple(sorted(largest.items()))
