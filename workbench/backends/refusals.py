"""What an engine cannot do is refused here, in one sentence and before anything runs, by what it said up front."""

from collections.abc import Collection

from workbench.backends.backend import Backend, Capabilities
from workbench.errors import WorkbenchError
from workbench.generation import Decoding
from workbench.plan import Plan


def check_plan(backend: Backend, plan: Plan) -> None:
    """Raises `WorkbenchError` for an edit that the engine cannot make, or cannot limit as the plan does."""
    can = backend.can
    for edit in plan.edits:
        if edit.kind not in can.edits:
            raise _refused(backend, f"make '{edit}'", ("edits", edit.kind))
        if edit.expert.is_shared and not can.shared:
            raise _refused(backend, f"make '{edit}', which is of a shared expert", ("shared",))
        for name in ("phase", "positions", "span"):
            if getattr(edit.scope, name) and name not in can.scopes:
                raise _refused(backend, f"limit '{edit}' by its {name}", ("scopes", name), "leave the limit out")


def check_keep(backend: Backend, what: Collection[str]) -> None:
    """Raises `WorkbenchError` for what the engine cannot record."""
    can = backend.can
    if can.keep is None:
        raise _refused(backend, "record which experts are selected", ("keep",))
    for name in sorted(set(what) - can.keep):
        kept = ", ".join(sorted(can.keep)) or "nothing beside the slots"
        raise _refused(backend, f"record {name}", (name, "keep"), f"keep {kept}")


def check_decoding(backend: Backend, decoding: Decoding) -> None:
    """Raises `WorkbenchError` for a way to generate that the engine does not have."""
    can = backend.can
    if decoding.temperature and not can.sampling:
        raise _refused(
            backend, f"sample at temperature {decoding.temperature:g}", ("sampling",), "leave the temperature at 0"
        )
    for name in decoding.shaping:
        if name not in can.shaping:
            raise _refused(
                backend, f"heed {name} of the generation config", (name, "shaping"), f"set {name} there to nothing"
            )


def check_scoring(backend: Backend, what: str) -> None:
    """Raises `WorkbenchError` where `what` needs distributions over given text and the engine does not tell them."""
    if not backend.can.scoring:
        raise _refused(backend, f"score given text, which {what} needs", ("scoring",), "ask for answers alone")


def _refused(backend: Backend, what: str, reasons: tuple[str, ...], remedy: str = "") -> WorkbenchError:
    can: Capabilities = backend.can
    why = next((f" ({can.why[name]})" for name in reasons if name in can.why), "")
    remedy = f"{remedy}, or load" if remedy else "load"
    return WorkbenchError(
        f"The engine '{can.name}' cannot {what}{why} on {backend.facts.anatomy.model}; {remedy} it on another engine."
    )
