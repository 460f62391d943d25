"""`with steered(model, plan):` - ordinary PyTorch inside, on a model that follows the plan."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from workbench.anatomy import Anatomy
from workbench.engine_words import check_words
from workbench.hooks.active import activate, active
from workbench.hooks.guards import as_it_is, check_here, check_loaded, outside_traces
from workbench.hooks.points import HookPoint
from workbench.hooks.register import held
from workbench.model import MoEModel, Runtime
from workbench.plan import Plan, as_plan
from workbench.routing import CompiledPlan, Dose, compile_plan, said_of_unlike, slots_per_token


@contextmanager
def steered(model: MoEModel, plan: Plan, *, dose: Dose | None = None, **before: Any) -> Iterator[Plan]:
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
    check_words("steered", before)
    check_loaded(model)
    check_here(model.runtime)
    model = as_it_is(model, weights=False)
    joined = joined_plan(model, plan)
    if not joined:
        yield joined
        return
    compiled = compile_plan(joined, model.anatomy, model.tokenizer)
    if dose is None:
        now = active(model.runtime.uid)
        dose = now.dose if now else None  # the outer block goes on counting
    watched = dose or Dose(is_counting=False)
    watched.slots_per_token = slots_per_token(model.anatomy)
    with outside_traces("steered"), following(model.runtime, compiled, watched):
        yield joined
    if dose is None and (said := unlike_said(compiled, model.anatomy, watched)):
        warnings.warn(f"{said}; pass a Dose to count them.", stacklevel=3)


@contextmanager
def following(runtime: Runtime, compiled: CompiledPlan, dose: Dose) -> Iterator[None]:
    """While open, forwards of the model in this context follow a compiled plan and nothing else; `dose` counts, or notices."""
    if not compiled.plan and active(runtime.uid) is None:
        yield
        return
    if not compiled.plan:
        with activate(runtime.uid, plan=None, compiled=None, dose=None, unlike=None):
            yield
        return
    counted = dose if dose.is_counting else None
    points = _points(runtime, compiled, counted is not None)
    state = activate(runtime.uid, plan=compiled.plan, compiled=compiled, dose=counted, unlike=dose.unlike)
    with held(runtime, points), state:
        yield


def joined_plan(model: MoEModel, plan: Plan) -> Plan:
    """`plan` for this model, joined with what a block of the caller's steers it by; another model's plan is refused."""
    plan = as_plan(plan, model.anatomy)
    plan = (
        plan.for_model(model.anatomy) if plan else plan
    )  # one of before fingerprints had a version joins as this model's
    joined = plan_in_force(model) | plan
    return joined.for_model(model.anatomy) if joined else joined


def unlike_said(compiled: CompiledPlan, anatomy: Anatomy, dose: Dose) -> str:
    """What there is to warn of where nobody counted: tokens whose router does not follow its rule; empty when all do."""
    found = dose.unlike.by_layer()
    return f"{compiled.plan} on {anatomy.model}: {said_of_unlike(sum(found.values()), tuple(found))}" if found else ""


def plan_in_force(model: MoEModel) -> Plan:
    """The plan that a block steers this model by in this context; empty when none does."""
    now = active(model.local.uid) if model.local is not None else None
    return (now.plan if now else None) or Plan()


def _points(runtime: Runtime, compiled: CompiledPlan, counted: bool) -> Iterator[HookPoint]:
    """Only the places that this plan needs: layers it does not touch compute what they computed."""
    if counted or compiled.needs_positions:
        yield HookPoint("forward", -1)
    if compiled.needs_generate:
        yield HookPoint("generate", -1)
    for layer, edits in compiled.routed.items():
        if runtime.layout.blocks[layer].adapter is not None:
            yield HookPoint("adapted", layer)
        if edits.reroutes:
            yield HookPoint("router", layer)
        if counted or edits.weighs:
            yield HookPoint("experts", layer)
    for layer, number in compiled.shared:
        yield HookPoint("shared", layer, number)
