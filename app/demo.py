"""The main job on the bundled model: capture, rank, choose on one split, measure on another, report.

Ranking and the number of experts use data/prompts/refusal.jsonl; every effect is measured on held-out prompts.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from workbench import Plan, WorkbenchError, capture, compare, read_prompts
from workbench.bundled import bundled_path

from .checks import CHECKS, REFUSED, TOKENS, Check
from .findings import Arm, Findings, arm_of, ranking_of
from .options import open_model
from .report import write_report
from .summary import print_summary
from .terminal import note, print_json, progress_bar, say

if TYPE_CHECKING:
    from probes.scores import ExpertScores
    from workbench import Comparison, MoEModel, Store

SIZES = (1, 2, 4, 8)
DRAWS = 3
THINKERS = 4
_FILES = tuple(TOKENS)


def run(out: Path, json: bool = False, source: str = "demo") -> Findings:
    """The whole demo: writes OUT/report.html, findings.json, plan.json and two stores, and prints a table."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.html").touch()  # an unwritable folder is found out now, not after the work
    model = open_model(source, "cpu", "auto")
    with _stages() as work:
        found = _work(model, out, work)
    write_report(found, out / "report.html")
    (out / "findings.json").write_text(_json_text(found), encoding="utf-8")
    if json:
        print_json(found.to_dict())
    else:
        print_summary(found)
        say(f"Report: {out / 'report.html'}")
        say(f'The plan: {out / "plan.json"}; try: workbench steer demo --plan {out / "plan.json"} --prompt "..."')
    return found


def _json_text(found: Findings) -> str:
    import json

    return json.dumps(found.to_dict(), indent=1, ensure_ascii=False) + "\n"


@dataclass
class _Stages:
    """What is being done, with a bar and time left on a terminal and a line per stage elsewhere."""

    advance: Callable[[str, int], None]
    seconds: dict[str, float] = field(default_factory=dict[str, float])

    @contextmanager
    def stage(self, what: str, units: int) -> Iterator[None]:
        """One stage of about so many units of work (prompts answered once)."""
        self.advance(what, 0)
        started = time.perf_counter()
        yield
        self.seconds[what] = round(time.perf_counter() - started, 2)
        self.advance(what, units)


@contextmanager
def _stages() -> Iterator[_Stages]:
    with progress_bar() as bar:
        task = bar.add_task("", total=_units())

        def advance(what: str, units: int) -> None:
            if not bar.console.is_terminal and not units:
                note(what)
            bar.update(task, description=what, advance=units)

        yield _Stages(advance)


def _units() -> int:
    """The work of a whole run, in prompts answered once."""
    n = {name: _n_prompts(name) for name in _FILES}
    arms = (len(SIZES) + 1) * (3 + DRAWS) * sum(n.values())
    capturing = _n_prompts("refusal", None) + _n_prompts("thinking", "ranking")
    choosing = 3 * len(SIZES) * _n_prompts("refusal", None)
    return arms + capturing + choosing + 3 * n["refusal_heldout"]


def _n_prompts(name: str, split: str | None = "heldout") -> int:
    return len(read_prompts(name).filter(split=split))


def _work(model: "MoEModel", out: Path, work: _Stages) -> Findings:
    from probes import ftri, npmi, super_experts

    asked, sums = read_prompts("refusal"), read_prompts("thinking").filter(split="ranking")
    with work.stage("Capturing refusals", len(asked)):
        store = capture(model, asked, out / "stores" / "refusal", generate=16, progress=False)
    with work.stage("Capturing sums", len(sums)):
        thoughts = capture(model, sums, out / "stores" / "thinking", generate=TOKENS["thinking"], progress=False)
    with work.stage("Ranking experts", 0):
        scores, thinkers, extremes = (
            ftri(store, target="refused", baseline="answered"),
            npmi(thoughts),
            super_experts(store),
        )
    plans = _plans(scores)
    choice_base, choice = _choose(model, plans, work)
    chosen = next((n for n in plans if choice[n] <= choice_base / 2), max(plans))
    plans[chosen].to_json(out / "plan.json")
    arms = tuple(_measure(model, n, plan, work) for n, plan in plans.items())
    thinking_arm = _measure(model, THINKERS, Plan.off(thinkers.top(THINKERS)), work)
    forced, notes = _force(model, scores, chosen, work)
    return Findings(
        model.anatomy.model,
        model.anatomy.fingerprint,
        len(model.anatomy.layers),
        model.anatomy.n_experts,
        max(x.top_k for x in model.anatomy.layers),
        ranking_of(scores),
        ranking_of(thinkers),
        ranking_of(extremes),
        _residual(store),
        choice,
        choice_base,
        chosen,
        arms,
        thinking_arm,
        forced,
        _implanted(),
        notes,
        dict(work.seconds),
        {name: version(name) for name in ("torch", "transformers")},
    )


def _plans(scores: "ExpertScores") -> dict[int, Plan]:
    """`off` for the first 1, 2, 4, 8 experts, as far as so many have a score above zero."""
    n_above = len(scores.frame.query("score > 0"))
    if not n_above:
        raise WorkbenchError("No expert is selected more when this model refuses; there is nothing to switch off.")
    return {n: Plan.off(scores.top(n)) for n in SIZES if n <= n_above}


def _choose(model: "MoEModel", plans: Mapping[int, Plan], work: _Stages) -> tuple[float, dict[int, float]]:
    """Refusals of sensitive prompts of the ranking split, for the base and under each plan: what chooses n."""
    asked, check = read_prompts("refusal"), next(c for c in CHECKS if c.name == REFUSED)
    base, left = 0.0, dict[int, float]()
    for n, plan in plans.items():
        with work.stage(f"Choosing n on the ranking split: {n}", 3 * len(asked)):
            row = _compare(model, asked, plan, [check], 0).metrics.iloc[0]
        base, left[n] = float(row["base"]), float(row["steered"])
    return base, left


def _measure(
    model: "MoEModel", n: int, plan: Plan, work: _Stages, draws: int = DRAWS, files: tuple[str, ...] = _FILES
) -> Arm:
    """Every check of these files on held-out prompts under one plan, beside random experts."""
    found: list[Comparison] = []
    for name in files:
        asked = read_prompts(name).filter(split="heldout")
        with work.stage(f"{plan if len(plan) < 3 else _short(plan)} on {name}", (3 + draws) * len(asked)):
            found.append(_compare(model, asked, plan, [c for c in CHECKS if c.prompts == name], draws))
    return arm_of(n, found, list(files))


def _short(plan: Plan) -> str:
    return f"{plan.edits[0].kind} {len(plan)} experts"


def _compare(model: "MoEModel", prompts: object, plan: Plan, checks: list[Check], draws: int) -> "Comparison":
    metrics, tokens = {c.name: c.function for c in checks}, TOKENS[checks[0].prompts]
    return compare(model, prompts, plan, metrics=metrics, controls={"count": draws}, max_new_tokens=tokens)


def _force(model: "MoEModel", scores: "ExpertScores", n: int, work: _Stages) -> tuple[Arm | None, tuple[str, ...]]:
    """The opposite edit on the same experts, where the model can do it."""
    plan = Plan.force(scores.top(n))
    try:
        plan.check(model.anatomy)
    except WorkbenchError as error:
        return None, (f"force on the same experts was not run: {error}",)
    return _measure(model, n, plan, work, 0, ("refusal_heldout",)), ()


def _residual(store: "Store") -> tuple[tuple[int, float], ...]:
    """Largest absolute value of the residual stream after each layer (-1: the embedding)."""
    largest: dict[int, float] = {}
    for batch in store.scan("residual", ["layer", "max_abs"]):
        layer = batch["layer"][0].as_py()
        largest[layer] = max(largest.get(layer, 0.0), *batch["max_abs"].to_pylist())
    return tuple(sorted(largest.items()))


def _implanted() -> dict[str, tuple[str, ...]]:
    """The experts that stage 2 of the training tuned, by behaviour: the truth that a score can be graded by."""
    import json

    try:
        stated = json.loads(bundled_path("demo-model/implant.json").read_text(encoding="utf-8"))
    except WorkbenchError:
        return {}
    kinds = {"refusal": "refusal_carriers", "thinking": "thinking_carriers"}
    return {kind: tuple(f"L{layer}E{e}" for layer, e in stated.get(key) or ()) for kind, key in kinds.items()}
