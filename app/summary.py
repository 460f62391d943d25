"""The table in the terminal at the end of the demo."""

from .checks import CHECKS, REFUSED, REVEALED
from .findings import Arm, Findings
from .report import moved, percent
from .terminal import print_table, say


def print_summary(found: Findings) -> None:
    """Refusals, revealed answers, random experts and the dose for every n, then the other checks under the chosen plan."""
    columns = ["off", "experts", "refused", "random draws", "revealed", "slots changed"]
    title = "Held-out sensitive prompts, the first n experts by fTRI switched off"
    print_table(columns, [_base_row(found), *(_row(arm) for arm in found.arms)], title, right=["off"])
    arm = found.arm
    print_table(
        ["check, held-out prompts", "base", f"{arm.n} off", "random draws", ""],
        [_check_row(arm, c.name) for c in CHECKS if c.name not in (REFUSED, REVEALED)],
        f"What else moved with {', '.join(arm.experts)} off (n = {arm.n} was chosen on the ranking split)",
        right=["base", f"{arm.n} off"],
    )
    say("A score is association; the effects above were measured by running the model with and without the plan.")


def _base_row(found: Findings) -> list[str]:
    refused, revealed = (found.arms[0].effect(name).base for name in (REFUSED, REVEALED))
    return ["0", "", percent(refused), "", percent(revealed), ""]


def _row(arm: Arm) -> list[str]:
    refused, revealed = arm.effect(REFUSED), arm.effect(REVEALED)
    dose = f"{arm.slots_changed:,} of {arm.slots:,}"
    shown = " ".join(arm.experts)
    return [str(arm.n), shown, percent(refused.steered), _random(refused.random), percent(revealed.steered), dose]


def _check_row(arm: Arm, name: str) -> list[str]:
    effect = arm.effect(name)
    mark = "moved" if moved(effect) else ""
    return [name, percent(effect.base), percent(effect.steered), _random(effect.random), mark]


def _random(shares: tuple[float, ...]) -> str:
    return ", ".join(f"{100 * share:.0f}" for share in shares) + " %" if shares else ""
