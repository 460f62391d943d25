"""Random experts to set beside a plan: same count, same layers, or same usage. Every draw is seeded."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from workbench.anatomy import Anatomy, ExpertRef, as_ref
from workbench.errors import WorkbenchError
from workbench.plan.edits import Edit

USAGE_NEIGHBOURS = 10


def random_like(
    edits: Sequence[Edit],
    anatomy: Anatomy,
    match: Literal["count", "layer", "usage"] = "count",
    usage: Any = None,
    seed: int = 0,
    apart: bool = True,
) -> tuple[Edit, ...]:
    """The edits of a plan moved to other experts, one for one.

    match  "count": uniformly over all routed experts. "layer": within the same layer. "usage": among the ten unused experts
           of nearest load anywhere in the model (ours; papers report "usage-matched" without a rule).
    apart  whether the plan's own experts are left out. Beside a plan of half the experts that leaves nothing to draw: what is
           left is one set, its other half. False draws from all
    usage  load per expert for match="usage": {ExpertRef: load} or a frame with columns layer, expert, score

    Raises `WorkbenchError` when not enough experts are left to draw from.
    """
    import numpy as np  # only here: commands that read a plan should print their help without it

    if match not in ("count", "layer", "usage"):
        raise WorkbenchError(f"match='{match}' is not known; random experts match by 'count', 'layer' or 'usage'.")

    experts = sorted({edit.expert for edit in edits})
    taken = set(experts) if apart else set[ExpertRef]()
    rng, drawn = np.random.default_rng(seed), dict[ExpertRef, ExpertRef]()
    loads = _loads(usage) if match == "usage" else {}
    for expert in experts:
        pool = [r for r in anatomy.refs(shared=True) if r.is_shared == expert.is_shared and r not in taken]
        pool = [r for r in pool if match != "layer" or r.layer == expert.layer]
        if match == "usage" and not expert.is_shared:
            pool = sorted(pool, key=lambda r: abs(loads.get(r, 0.0) - loads.get(expert, 0.0)))[:USAGE_NEIGHBOURS]
        if not pool:
            raise WorkbenchError(
                f"No expert is left to draw in place of {expert} (match='{match}'); make the plan smaller."
            )
        drawn[expert] = pool[int(rng.integers(len(pool)))]
        taken.add(drawn[expert])
    return tuple(Edit(e.kind, drawn[e.expert], e.value, e.scope) for e in edits)


def _loads(usage: Any) -> dict[ExpertRef, float]:
    if usage is None:
        raise WorkbenchError("match='usage' needs usage=, a load per expert: pass probes.usage(store).frame.")
    if isinstance(usage, Mapping):
        return {as_ref(r): float(v) for r, v in usage.items()}
    frame = getattr(usage, "frame", usage)
    rows = zip(frame["layer"], frame["expert"], frame["score"], strict=True)
    return {ExpertRef(int(layer), int(e)): float(load) for layer, e, load in rows}
