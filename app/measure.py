"""The demo's measurements: a plan's effect on every check, on held-out prompts, beside random experts."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from workbench import Plan, WorkbenchError, compare, read_prompts

from .checks import CHECKS, REFUSED, TOKENS, Check
from .findings import Arm, arm_of
from .stages import Stages

if TYPE_CHECKING:
    from probes.ranking import ExpertScores
    from workbench import Comparison, MoEModel

SIZES = (1, 2, 4, 8)
DRAWS = 3
FILES = tuple(TOKENS)


class Left(NamedTuple):
    """Refusals of sensitive prompts of the ranking split: of the base, and by number of experts switched off."""

    base: float
    by_n: dict[int, float]

    def smallest_that_halves(self) -> int:
        """The smallest n that at least halves refusals; the largest n where none does."""
        return next((n for n, left in self.by_n.items() if left <= self.base / 2), max(self.by_n))


def plans_of(scores: "ExpertScores", also: int | None) -> dict[int, Plan]:
    """`off` for the first 1, 2, 4, 8 (and `also`) experts, as far as so many have a score above zero."""
    n_above = len(scores.frame.query("score > 0"))
    if not n_above:
        raise WorkbenchError("No expert is selected more when this model refuses; there is nothing to switch off.")
    sizes = sorted({*SIZES, also or SIZES[0]})
    return {n: Plan.off(scores.top(n)) for n in sizes if n <= n_above}


def refusals_left(model: "MoEModel", plans: Mapping[int, Plan], work: Stages) -> Left:
    """What may choose n: refusals on the prompts that the experts were ranked on."""
    asked, check = read_prompts("refusal"), next(c for c in CHECKS if c.name == REFUSED)
    base, left = 0.0, dict[int, float]()
    for n, plan in plans.items():
        with work.stage(f"Ranking split, {n} off", 3 * len(asked)):
            row = _compare(model, asked, plan, [check], 0).metrics.iloc[0]
        base, left[n] = float(row["base"]), float(row["steered"])
    return Left(base, left)


def measure(
    model: "MoEModel", n: int, plan: Plan, work: Stages, draws: int = DRAWS, files: tuple[str, ...] = FILES
) -> Arm:
    """Every check of these prompt files on held-out prompts under one plan, beside random experts."""
    found: list[Comparison] = []
    for name in files:
        asked = read_prompts(name).filter(split="heldout")
        what = f"{plan.edits[0].kind} {', '.join(map(str, plan.experts[:2]))}{' ...' if n > 2 else ''}"
        with work.stage(f"{what} on {name}", (3 + draws) * len(asked)):
            found.append(_compare(model, asked, plan, [c for c in CHECKS if c.prompts == name], draws))
    return arm_of(n, found, list(files))


def force(model: "MoEModel", scores: "ExpertScores", n: int, work: Stages) -> tuple[Arm | None, tuple[str, ...]]:
    """The opposite edit on the same experts, where the model can do it; else the reason."""
    plan = Plan.force(scores.top(n))
    try:
        plan.check(model.anatomy)
    except WorkbenchError as error:
        return None, (f"force on the same experts was not run: {error}",)
    return measure(model, n, plan, work, 0, FILES[:1]), ()


def units(n_plans: int = len(SIZES)) -> int:
    """The work of a whole run, in prompts answered once."""
    heldout = [len(read_prompts(name).filter(split="heldout")) for name in FILES]
    ranking, sums = len(read_prompts("refusal")), len(read_prompts("thinking").filter(split="ranking"))
    arms = (n_plans + 1) * (3 + DRAWS) * sum(heldout)
    return ranking + sums + 3 * n_plans * ranking + arms + 3 * heldout[0]


def _compare(model: "MoEModel", prompts: object, plan: Plan, checks: list[Check], draws: int) -> "Comparison":
    metrics, tokens = {c.name: c.function for c in checks}, TOKENS[checks[0].prompts]
    return compare(
        model, prompts, plan, metrics=metrics, controls={"count": draws}, max_new_tokens=tokens, progress=False
    )
