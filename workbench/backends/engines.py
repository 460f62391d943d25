"""The engine of a model, the plan compiled for it, and the words by which users name engines."""

from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from typing import Any

from workbench.backends.backend import Backend
from workbench.backends.refusals import check_plan
from workbench.errors import WorkbenchError, suggestion
from workbench.hooks import as_it_is, joined_plan
from workbench.model import MoEModel, Told
from workbench.plan import KINDS, Plan
from workbench.routing import CompiledPlan, compile_plan

NAMES = ("native", "nnsight", "ndif")
FIRST = "native"
"""What ran the forwards of stores whose `plan.json` names no engine."""
_MEMBERS = ("can", "facts", "run", "score")


def backend_of(model: MoEModel) -> Backend:
    """The engine that runs the model, which is looked at once more: its settings may have been changed since it was loaded."""
    now = as_it_is(model, weights=False)
    return now.engine(now)


def arm_of(model: MoEModel, plan: Plan | None = None) -> tuple[Backend, CompiledPlan]:
    """What runs one arm: the engine of the model as it is now, and the plan compiled for it.

    The plan is joined with what a `with steered` of the caller's puts into force. Raises `WorkbenchError` when it is
    impossible on this model, or its engine cannot make such edits.
    """
    now = as_it_is(model, weights=False)
    joined, backend = joined_plan(now, plan or Plan()), now.engine(now)
    compiled = compile_plan(joined, now.anatomy, now.tokenizer)
    check_plan(backend, joined)
    return backend, compiled


def compiled_for(model: MoEModel, plan: Plan | None = None) -> CompiledPlan:
    """The plan of `arm_of`, for an engine that is at hand."""
    return arm_of(model, plan)[1]


def check_words(call: str, given: Mapping[str, Any]) -> None:
    """Raises for keywords that `call` does not take: `WorkbenchError` with the new word for those of before."""
    for name in given:
        if name in ("backend", "remote"):
            raise WorkbenchError(old_word(f"{call}({name}=...)"))
        raise TypeError(f"{call}() got an unexpected keyword argument '{name}'")


def old_word(word: str) -> str:
    """The sentence for a word of before."""
    return f"{word} is not a word any more: a model is loaded on its engine, load(..., engine='nnsight', remote=True)."


def was_bare(begun: Mapping[str, Any]) -> bool:
    """Whether the capture of this `plan.json` was begun by a version whose engine had no use for the generation config."""
    return "decoding" not in begun and begun.get("backend", FIRST) == FIRST


def named(engine: Any) -> Any:
    """An engine that is not one of ours: imported where it is named as module:Class, else as it is.

    Raises `WorkbenchError` for a name that there is not.
    """
    if not isinstance(engine, str):
        return engine
    module, _, name = engine.partition(":")
    if not name:
        raise WorkbenchError(
            f"There is no engine '{engine}'{suggestion(engine, list(NAMES)) or ';'} there are {', '.join(NAMES)}, and one of "
            f"your own as module:Class."
        )
    try:
        return getattr(import_module(module), name)
    except Exception as error:  # whatever the module does when it is imported
        raise WorkbenchError(
            f"The engine '{engine}' cannot be imported ({error}); name a class of an installed module as module:Class."
        ) from error


def told_of(engine: Backend) -> Told:
    """What an engine says of its model, with the edits that it cannot make refused layer by layer, as any plan is checked."""
    facts, can = engine.facts, engine.can
    why = {kind: can.why.get(kind) or can.why.get("edits") or f"the engine '{can.name}' cannot" for kind in KINDS}
    refused = {kind: reason for kind, reason in why.items() if kind not in can.edits}
    layers = tuple(replace(x, refused={**x.refused, **refused}) if x.is_moe else x for x in facts.anatomy.layers)
    names = ("tokenizer", "dtype", "device", "kind", "n_embeddings", "config", "generation_config")
    return Told(replace(facts.anatomy, layers=layers), **{name: getattr(facts, name) for name in names})


def check_engine(engine: Any) -> None:
    """Raises `WorkbenchError` for an object that lacks a part of `Backend`."""
    lacks = [name for name in _MEMBERS if not hasattr(engine, name)]
    if lacks:
        raise WorkbenchError(
            f"A {type(engine).__name__} is no engine, for it has no {', '.join(lacks)}; see `workbench.backends.Backend`."
        )
