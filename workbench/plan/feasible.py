"""Can this model do this plan? An impossible plan is refused with layer and numbers; it is never trimmed (contract 6)."""

from collections.abc import Sequence

from workbench.anatomy import Anatomy, LayerAnatomy
from workbench.errors import WorkbenchError
from workbench.plan.edits import Edit, Phase


def check_edits(edits: Sequence[Edit], fingerprint: str | None, anatomy: Anatomy) -> None:
    """Raises `WorkbenchError` for an expert that does not exist, an unsupported edit, or numbers that cannot work.

    Scopes are taken at their widest: two edits meet unless their phases differ.
    """
    anatomy.check_same(fingerprint, "This plan")
    for edit in edits:
        anatomy.check_ref(edit.expert)
        _check_edit(edit, anatomy)
    phases: tuple[Phase, ...] = ("prompt", "generated")
    for layer in sorted({edit.expert.layer for edit in edits}):
        for phase in phases:
            meeting = [e for e in edits if e.expert.layer == layer and e.scope.phase in (None, phase)]
            _check_layer(anatomy.layer(layer), meeting)


def _check_edit(edit: Edit, anatomy: Anatomy) -> None:
    reason = anatomy.layer(edit.expert.layer).refused.get(edit.kind)
    if reason:
        raise WorkbenchError(f"{edit.kind} {edit.expert} is not supported on {anatomy.model}: {reason}")
    width = (0 if edit.expert.is_shared else anatomy.layer(edit.expert.layer).output_size) or anatomy.hidden_size
    if isinstance(edit.value, tuple) and len(edit.value) != width:
        raise WorkbenchError(
            f"replace {edit.expert}: the vector has {len(edit.value)} numbers, and this expert of {anatomy.model} gives {width}."
        )


def _check_layer(layer: LayerAnatomy, edits: list[Edit]) -> None:
    forced = {e.expert.expert for e in edits if e.kind == "force"}
    off = {e.expert.expert for e in edits if e.kind == "off"}
    if len(forced) > layer.top_k:
        raise WorkbenchError(
            f"Layer {layer.layer} selects {layer.top_k} experts per token, and the plan forces {len(forced)}; "
            f"force at most {layer.top_k}."
        )
    live = layer.n_experts - len(off)
    if off and live < layer.top_k:
        raise WorkbenchError(
            f"Layer {layer.layer} selects {layer.top_k} of {layer.n_experts} experts, and the plan leaves {live} on; "
            f"switch off at most {layer.n_experts - layer.top_k}."
        )
    if off and layer.rule and layer.rule.n_group > 1:
        # what a scope limits fills no slot at the positions outside of it
        always = {e.expert.expert for e in edits if e.kind == "force" and not e.scope.positions and not e.scope.span}
        _check_groups(layer, off, always)


def _check_groups(layer: LayerAnatomy, off: set[int], forced: set[int]) -> None:
    """Every admissible choice of groups must hold enough live experts, else dead ones are selected without an error.

    Forced experts have their slots whatever their group; the others come out of the chosen groups.
    """
    rule = layer.rule
    assert rule is not None
    size = layer.n_experts // rule.n_group
    needed = 2 if rule.group_score == "top2" else 1
    open_slots = layer.top_k - len(forced)
    by_group = [(_outside(off, g, size), _outside(off | forced, g, size)) for g in range(rule.n_group)]
    live = sorted(n for n, _ in by_group)
    usable = sorted(free for n, free in by_group if n >= needed)
    if open_slots and (len(usable) < rule.topk_group or sum(usable[: rule.topk_group]) < open_slots):
        raise WorkbenchError(
            f"Layer {layer.layer} selects {layer.top_k} experts from {rule.topk_group} of {rule.n_group} groups, and the plan "
            f"leaves {live} experts on in the groups; leave at least {rule.topk_group} groups with {needed} or more experts "
            f"each, {layer.top_k} in the smallest {rule.topk_group} of them."
        )


def _outside(taken: set[int], group: int, size: int) -> int:
    """Experts of a group that are not taken."""
    return size - sum(e // size == group for e in taken)
