"""What the switchboard can be coloured by: scores of the store, load, output size, or the tokens just generated."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd

from probes.catalogue import RANKERS, Method, ranker
from probes.ranking import refs_of
from workbench import ExpertRef, WorkbenchError
from workbench.answering import StreamedToken

from ...choice import committed_choice
from ..session import View, scores_of
from ..widgets import DIVERGING, SEQUENTIAL
from .offers import VERDICTS


class Colouring(NamedTuple):
    """A value per expert, its unit, and the palette; `note` says why there is none."""

    values: dict[ExpertRef, float]
    unit: str
    palette: str
    note: str = ""


def palette_of(probe: Method) -> str:
    """Two colours where a score has a sign, one from dark to light where it has none."""
    return DIVERGING if probe.negative_end else SEQUENTIAL


PROBES: dict[str, Method] = {
    f"{probe.score}, {' against '.join(VERDICTS)}" if probe.classes else probe.score: probe
    for probe in RANKERS.values()
    if not probe.goes_with
}
THIS_ANSWER = "the answer just generated"
CHOICES = (*PROBES, THIS_ANSWER)


def options_of(view: View, method: str) -> dict[str, Any]:
    """Options of a probe: what it asks about classes, refused against answered, at the token that decides an answer.

    For the bundled model the options of fTRI are the ones that were chosen on its ranking split.
    """
    asked = dict(zip(ranker(method).classes, VERDICTS, strict=False))
    if method != "ftri":
        return asked
    chosen = committed_choice().options if view.name == "demo" else {}
    return {**asked, "tokens": "last_prompt", **chosen}


def ranked(view: View, method: str) -> Any:
    """The scores of a probe over this view's store; `WorkbenchError` when there is no store, or it cannot say."""
    if view.store_path is None:
        raise WorkbenchError("This model has no store yet, so nothing is ranked; make one under Captures and runs.")
    return scores_of(view.store_path, method, **options_of(view, method))


def colouring(view: View, choice: str, tokens: Sequence[StreamedToken]) -> Colouring:
    """The values of `choice`; `tokens` are those of the last answer."""
    if choice == THIS_ANSWER:
        return _of_answer(tokens)
    probe = PROBES[choice]
    unit, palette = probe.unit, palette_of(probe)
    try:
        frame: pd.DataFrame = ranked(view, probe.name).frame
    except WorkbenchError as error:
        return Colouring({}, unit, palette, str(error))
    scored = zip(refs_of(frame), frame["score"], strict=True)
    found = {ref: float(score) for ref, score in scored if not ref.is_shared and score == score}
    return Colouring(found, unit, palette)


def _of_answer(tokens: Sequence[StreamedToken]) -> Colouring:
    counted: Counter[ExpertRef] = Counter()
    for token in tokens:
        counted.update(ExpertRef(layer, e) for layer, slots in token.routing.items() for e, _ in slots)
    share = {ref: n / len(tokens) for ref, n in counted.items()}
    return Colouring(share, "share of this answer's tokens", SEQUENTIAL, "" if tokens else "Nothing was generated yet.")
