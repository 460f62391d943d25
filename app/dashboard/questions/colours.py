"""What the switchboard can be coloured by: scores of the store, load, output size, or the tokens just generated."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd

from workbench import ExpertRef, WorkbenchError
from workbench.answering import StreamedToken

from ...choice import committed_choice
from ..session import View, scores_of
from ..widgets import DIVERGING, SEQUENTIAL


class Colouring(NamedTuple):
    """A value per expert, its unit, and the palette; `note` says why there is none."""

    values: dict[ExpertRef, float]
    unit: str
    palette: str
    note: str = ""


PROBES: dict[str, tuple[str, str, str]] = {
    "fTRI, refused against answered": ("ftri", "difference of selection rates", DIVERGING),
    "load": ("usage", "share of the layer's selections", SEQUENTIAL),
    "largest output": ("super_experts", "largest |output|", SEQUENTIAL),
}
THIS_ANSWER = "the answer just generated"
CHOICES = (*PROBES, THIS_ANSWER)


def options_of(view: View, method: str) -> dict[str, Any]:
    """Options of a probe; for the bundled model the ones that were chosen on its ranking split."""
    if method != "ftri":
        return {}
    chosen = committed_choice().options if view.name == "demo" else {}
    return {"target": "refused", "baseline": "answered", "tokens": "last_prompt", **chosen}


def ranked(view: View, method: str) -> Any:
    """The scores of a probe over this view's store; `WorkbenchError` when there is no store, or it cannot say."""
    if view.store_path is None:
        raise WorkbenchError("This model has no store yet, so nothing is ranked; make one under Captures and runs.")
    return scores_of(view.store_path, method, **options_of(view, method))


def colouring(view: View, choice: str, tokens: Sequence[StreamedToken]) -> Colouring:
    """The values of `choice`; `tokens` are those of the last answer."""
    if choice == THIS_ANSWER:
        return _of_answer(tokens)
    method, unit, palette = PROBES[choice]
    try:
        frame: pd.DataFrame = ranked(view, method).frame
    except WorkbenchError as error:
        return Colouring({}, unit, palette, str(error))
    shared = frame["is_shared"] if "is_shared" in frame else [False] * len(frame)
    rows = zip(frame["layer"], frame["expert"], shared, frame["score"], strict=True)
    found = {ExpertRef(int(n), int(e)): float(s) for n, e, is_shared, s in rows if not is_shared and s == s}
    return Colouring(found, unit, palette)


def _of_answer(tokens: Sequence[StreamedToken]) -> Colouring:
    counted: Counter[ExpertRef] = Counter()
    for token in tokens:
        counted.update(ExpertRef(layer, e) for layer, slots in token.routing.items() for e, _ in slots)
    share = {ref: n / len(tokens) for ref, n in counted.items()}
    return Colouring(share, "share of this answer's tokens", SEQUENTIAL, "" if tokens else "Nothing was generated yet.")
