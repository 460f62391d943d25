"""`with steered(model, plan):` - ordinary PyTorch inside, on a model that follows the plan."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from workbench.hooks.active import activate, active
from workbench.hooks.guards import as_it_is, check_here, outside_traces
from workbench.hooks.points import HookPoint
from workbench.hooks.register import held
from workbench.model import MoEModel
from workbench.plan import Plan
from workbench.routing import CompiledPlan, Dose, Unlike, compile_plan, said_of_unlike


@contextmanager
def steered(model: MoEModel, plan: Plan, *, dose: Dose | None = None) -> Iterator[Plan]:
    """While open, forwards and generations of `model.hf` in this context follow `plan`; yields the plan in force.

    So do those of the TransformerLens bridge or the nnsight model around it (run_with_cache, trace, generate, ...).

    Leaving the block (return, exception, interrupted generation) restores the model. Other threads are not steered; a thread
    that should be runs in `contextvars.copy_context()`. Such a thread that outlives the block loses the plan in silence, as
    soon as no block of this model is left: join it inside. Inside another `steered` block of the same model the plans are
    joined. An empty plan installs nothing. `dose` counts the tokens and slots that the plan really changes (it costs a
    little), and those where off, force and bias go by a rule that is not the router's; without one each layer's first
    forward is looked at, and a warning says what was found when the block ends.

    Do not wrap a `yield` of your own generator in this block: its caller would be steered as well.

    Raises `WorkbenchError` when the plan is impossible on this model; it is never trimmed.
    """
    check_here(model.runtime)
    model = as_it_is(model, weights=False)
    now = active(model.runtime.uid)
    plan = (
        plan.for_model(model.anatomy) if plan else plan
    )  # one made before fingerprints had a version joins as this model's
    joined = ((now.plan if now else None) or Plan()) | plan
    if not joined:
        yield joined
        return
    joined = joined.for_model(model.anatomy)
    compiled = compile_plan(joined, model.anatomy, model.tokenizer)
    if dose is None:
        dose = now.dose if now else None  # the outer block goes on counting
    else:
        dose.slots_per_token = sum(x.top_k + x.n_shared for x in model.anatomy.layers)
    points, unlike = _points(model, compiled, dose is not None), Unlike(once=True) if dose is None else dose.unlike
    state = activate(model.runtime.uid, plan=joined, compiled=compiled, dose=dose, unlike=unlike)
    with outside_traces("steered"), held(model.runtime, points), state:
        yield joined
    if dose is None and (found := unlike.by_layer()):
        said = said_of_unlike(sum(found.values()), tuple(found))
        warnings.warn(f"{joined} on {model.anatomy.model}: {said}; pass a Dose to count them.", stacklevel=3)


def plan_in_force(model: MoEModel) -> Plan:
    """The plan that steers this model in this context; empty when none does."""
    now = active(model.runtime.uid)
    return (now.plan if now else None) or Plan()


def _points(model: MoEModel, compiled: CompiledPlan, counted: bool) -> Iterator[HookPoint]:
    """Only the places that this plan needs: layers it does not touch compute what they computed."""
    if counted or compiled.needs_positions:
        yield HookPoint("forward", -1)
    if compiled.needs_generate:
        yield HookPoint("generate", -1)
    for layer, edits in compiled.routed.items():
        if model.runtime.layout.blocks[layer].adapter is not None:
            yield HookPoint("adapted", layer)
        if edits.reroutes:
            yield HookPoint("router", layer)
        if counted or edits.weighs:
            yield HookPoint("experts", layer)
    for layer, number in compiled.shared:
        yield HookPoint("shared", layer, number)
