"""The least experts of a ranking, which a plan that prunes takes, and the most, which stand beside it."""

from typing import TYPE_CHECKING, Any

from probes.ranking import refs_of
from workbench import ExpertRef, WorkbenchError

from ..recipe import CellPart

if TYPE_CHECKING:
    import pandas as pd

    from probes.ranking import ExpertScores

LEAST = ("least", "least_by_layer")
"""The ends of a ranking that are chosen here."""


def least(scores: "ExpertScores", part: CellPart) -> tuple[ExpertRef, ...]:
    """The part's n lowest routed experts, or n / layers of every layer.

    First those that no token selected and that have no score, then by rising score; equal ones by layer and number. An expert
    that was selected and has no score (a value that is not finite) is never taken. Raises `WorkbenchError` when there are fewer.
    """
    return _taken(_rising(scores), part)


def most(scores: "ExpertScores", part: CellPart) -> tuple[ExpertRef, ...]:
    """The other end: as many experts of the largest scores, or as many of every layer. Never one that no token selected."""
    frame = _rising(scores)
    return _taken(frame[(frame["n"] > 0) & frame["score"].notna()].iloc[::-1], part)


def _rising(scores: "ExpertScores") -> Any:
    frame: Any = scores.frame[~scores.frame["is_shared"]]
    frame = frame[frame["score"].notna() | (frame["n"] == 0)]
    return frame.assign(known=frame["score"].notna()).sort_values(["known", "score", "layer", "expert"], kind="stable")


def _taken(frame: "pd.DataFrame", part: CellPart) -> tuple[ExpertRef, ...]:
    layers = sorted({int(layer) for layer in frame["layer"]})
    if part.end == "least":
        return _first(frame, part.n, "")
    if not layers or part.n % len(layers):
        raise WorkbenchError(
            f"{part.n} experts cannot be taken in equal numbers out of {len(layers)} layers; give n as a multiple of that."
        )
    each = part.n // len(layers)
    return tuple(ref for layer in layers for ref in _first(frame[frame["layer"] == layer], each, f" in layer {layer}"))


def _first(frame: Any, n: int, where: str) -> tuple[ExpertRef, ...]:
    if len(frame) < n:
        raise WorkbenchError(f"Only {len(frame)} experts{where} can be told from the others, and {n} were asked for.")
    return tuple(refs_of(frame.head(n)))
