"""Experts clicked on the switchboard become edits of the plan, and the other way round."""

import json
import shlex
from collections.abc import Iterable
from typing import Any, NamedTuple

from workbench import ExpertRef, Plan, Store, WorkbenchError
from workbench.anatomy import Anatomy, LayerAnatomy
from workbench.plan import Edit, Kind

MEANINGS: dict[Kind, str] = {
    "off": "the router answers as if the expert did not exist, and takes the next best",
    "force": "always selected, weighted like the token's best",
    "mute": "selection stays, its output contributes nothing",
    "drop": "its weight becomes 0, the other selected experts take its share",
    "scale": "its routing weight is multiplied",
    "bias": "a number is added to its router logit",
    "replace": "its output becomes its mean over the store (needs captured outputs)",
}


def possible(anatomy: Anatomy) -> tuple[Kind, ...]:
    """The kinds of edits that some layer of the model takes; where every expert is selected, none can be off or forced."""
    layers = [anatomy.layer(n) for n in anatomy.moe_layers]

    def can(kind: Kind, layer: LayerAnatomy) -> bool:
        return kind not in layer.refused and not (kind in ("off", "force") and layer.top_k >= layer.n_experts)

    return tuple(kind for kind in MEANINGS if any(can(kind, layer) for layer in layers)) or tuple(MEANINGS)


class Tool(NamedTuple):
    """What a click does: the kind of edit, its number (scale, bias), and the phase it is limited to (None: everywhere)."""

    kind: Kind
    value: float = 1.0
    phase: str | None = None

    def plan(self, refs: Iterable[ExpertRef], store: Store | None) -> Plan:
        """This edit on these experts."""
        scope: dict[str, Any] = {"phase": self.phase} if self.phase else {}
        chosen = list(refs)
        if self.kind in ("scale", "bias"):
            return getattr(Plan, self.kind)(chosen, self.value, **scope)
        if self.kind != "replace":
            return getattr(Plan, self.kind)(chosen, **scope)
        if store is None:
            raise WorkbenchError("replace needs a store with outputs of these experts; capture one with keep=outputs.")
        return Plan.replace(chosen, "mean", **scope).with_means(store)


def toggled(plan: Plan, refs: Iterable[ExpertRef], tool: Tool, anatomy: Anatomy, store: Store | None) -> Plan:
    """The plan with the tool's edit on these experts; where all of them have that very kind of edit, without it.

    Raises `WorkbenchError` when the model cannot do it; nothing is trimmed.
    """
    chosen = set(refs)
    have = {e.expert for e in plan.edits if e.kind == tool.kind}
    if chosen <= have:
        return without(plan, [e for e in plan.edits if e.kind == tool.kind and e.expert in chosen])
    replaced = without(plan, [e for e in plan.edits if e.expert in chosen and _excludes(e.kind, tool.kind)])
    return (replaced | tool.plan(sorted(chosen), store)).for_model(anatomy).check(anatomy)


def without(plan: Plan, edits: Iterable[Edit]) -> Plan:
    """The plan without these edits."""
    gone = set(edits)
    return Plan(tuple(e for e in plan.edits if e not in gone), plan.fingerprint)


def _excludes(there: Kind, new: Kind) -> bool:
    """A switch has one position: off replaces force, another factor replaces the factor."""
    return there == new or {there, new} == {"off", "force"}


def as_python(plan: Plan, model: str) -> str:
    """The plan as a script to paste."""
    lines = ["from workbench import Plan, load, steered", "", f"model = load({model!r})"]
    lines += [
        f"plan = Plan.parse({str(plan)!r}, model.anatomy)",
        "with steered(model, plan):",
        "    ...  # model.hf.generate(...)",
    ]
    return "\n".join(lines)


def as_command(plan: Plan, model: str, question: str, *, raw: bool = False) -> str:
    """The plan as a command to paste; edits that have no option of their own travel as a file. raw: without a template."""
    words = ["workbench", "steer", model, "--prompt", question or "...", *(["--raw"] if raw else [])]
    if all(e.scope.is_everywhere and e.kind != "replace" for e in plan.edits):
        for edit in plan.edits:
            kind, _, rest = str(edit).partition(" ")
            words += [f"--{kind}", rest]
        return shlex.join(words)
    return shlex.join([*words, "--plan", "plan.json"])


def as_json(plan: Plan) -> str:
    """The plan as `workbench` reads it with --plan."""
    return json.dumps(json.loads(plan.to_json()), indent=1)
