"""The engine of a model, the plan compiled for it, and the words by which users name engines."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

from torch import Tensor

from workbench.anatomy import Anatomy
from workbench.backends.backend import Backend, Batch, Capabilities, Keep, Ran
from workbench.backends.refusals import check_plan
from workbench.errors import WorkbenchError, suggestion
from workbench.generation import Decoding
from workbench.hooks import as_it_is, joined_plan
from workbench.model import Facts, MoEModel, Told
from workbench.plan import KINDS, Plan
from workbench.routing import CompiledPlan, Dose, compile_plan

NAMES = ("native", "nnsight", "ndif", "vllm")
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


def anatomy_on(engine: Backend) -> Anatomy:
    """The MoE map of the engine's model, with the edits that the engine cannot make refused layer by layer."""
    anatomy, can = engine.facts.anatomy, engine.can
    why = {kind: can.why.get(kind) or can.why.get("edits") or f"the engine '{can.name}' cannot" for kind in KINDS}
    refused = {kind: reason for kind, reason in why.items() if kind not in can.edits}
    layers = tuple(replace(x, refused={**x.refused, **refused}) if x.is_moe else x for x in anatomy.layers)
    return replace(anatomy, layers=layers)


def told_of(engine: Backend) -> Told:
    """What an engine says of its model; a plan that it cannot make is refused as any other is checked."""
    names = ("tokenizer", "dtype", "device", "kind", "n_embeddings", "config", "generation_config")
    return Told(anatomy_on(engine), **{name: getattr(engine.facts, name) for name in names})


def check_engine(engine: Any) -> None:
    """Raises `WorkbenchError` for an object that lacks a part of `Backend`."""
    lacks = [name for name in _MEMBERS if not hasattr(engine, name)]
    if lacks:
        raise WorkbenchError(
            f"load(engine=...) got an object of type {type(engine).__name__}, which is no engine, for it has no "
            f"{', '.join(lacks)}; see `workbench.backends.Backend`."
        )


@dataclass(frozen=True, eq=False)
class OwnEngine:
    """An engine that is not one of ours, whose failures while it runs are one sentence."""

    engine: Backend

    @property
    def can(self) -> Capabilities:
        """What it can do."""
        return self.engine.can

    @property
    def facts(self) -> Facts:
        """What it says of its model."""
        return self.engine.facts

    def run(
        self,
        batch: Batch,
        plan: CompiledPlan,
        decoding: Decoding | None = None,
        keep: Keep | None = None,
        dose: Dose | None = None,
    ) -> Generator[Ran, None, None]:
        """See `Backend.run`. Raises `WorkbenchError` for whatever it raises, and for a portion without what was asked for."""
        with self._sentences("run a batch"):
            for portion in self.engine.run(batch, plan, decoding, keep, dose):
                if keep is not None and portion.record is None:
                    raise TypeError("it handed over no record of what it was asked to keep")
                yield portion

    def run_each(
        self,
        batch: Batch,
        plans: Sequence[CompiledPlan],
        decoding: Decoding | None = None,
        keep: Keep | None = None,
        doses: Sequence[Dose | None] = (),
    ) -> Generator[Ran, None, None]:
        """See `TakesPlans.run_each`; only an engine that says so has it."""
        with self._sentences("run a batch"):
            yield from self.engine.run_each(batch, plans, decoding, keep, doses)  # pyright: ignore[reportAttributeAccessIssue]

    def score(self, batch: Batch, plan: CompiledPlan) -> Tensor:
        """See `Backend.score`."""
        with self._sentences("score a batch"):
            return self.engine.score(batch, plan)

    @contextmanager
    def _sentences(self, what: str) -> Iterator[None]:
        try:
            yield
        except WorkbenchError:
            raise
        except Exception as error:  # somebody else's code, which can fail in any way
            raise WorkbenchError(
                f"The engine '{self.can.name}' failed to {what} ({type(error).__name__}: {error}); mend it and do the same "
                f"again: a capture that was begun goes on from there."
            ) from error
