"""Finding where a marker such as `<think>` stands: in one token, or spread over several."""

from typing import TYPE_CHECKING, Any

import numpy as np

from probes.selection import sequence_of_row
from workbench.errors import WorkbenchError, suggestion

if TYPE_CHECKING:
    from workbench.store import Store

Marker = str | int


def find_marker(store: "Store", marker: Marker, among: np.ndarray) -> np.ndarray:
    """Bool [rows of store.tokens]: the marker's occurrences, each at one token, out of the rows `among`.

    An int is a token id. A string is found in tokens that equal it, a leading space aside; where none does, in runs of
    tokens of one sequence that spell it, and counted at the run's last token, the first that has read the whole marker
    (ours: the paper says nothing of markers of several tokens).
    Raises `WorkbenchError` when there is none.
    """
    tokens: Any = store.tokens
    if isinstance(marker, int):
        found = tokens["token_id"].eq(marker).fillna(False).to_numpy(bool) & among
    else:
        texts: Any = tokens["token"]
        if texts.isna().all():
            raise WorkbenchError(f"'{store.path}' was captured without text; give the marker '{marker}' as a token id.")
        found = _equal(texts.fillna("").to_numpy(object), marker) & among
        if not found.any():
            found = _spelled(texts.fillna("").tolist(), sequence_of_row(store), marker) & among
    if not found.any():
        known = sorted({str(t) for t in tokens["token"].dropna().unique() if "<" in str(t)})
        near = suggestion(str(marker), known) or f"; tokens with angle brackets are {', '.join(known[:8]) or 'none'}."
        raise WorkbenchError(
            f"The marker '{marker}' is at none of the {int(among.sum())} tokens read of '{store.path}'{near}"
        )
    return found


def _equal(texts: np.ndarray, marker: str) -> np.ndarray:
    distinct, code = np.unique(texts.astype(str), return_inverse=True)
    return np.array([t in (marker, f" {marker}") for t in distinct], bool)[code]


def _spelled(texts: list[str], sequence: np.ndarray, marker: str) -> np.ndarray:
    out = np.zeros(len(texts), bool)
    for start, text in enumerate(texts):
        opening = text.removeprefix(" ")
        if opening and marker.startswith(opening):
            end = _end_of_run(texts, sequence, start, marker)
            if end is not None:
                out[end] = True
    return out


def _end_of_run(texts: list[str], sequence: np.ndarray, start: int, marker: str) -> int | None:
    spelled, row = texts[start].removeprefix(" "), start
    while marker.startswith(spelled) and spelled != marker:
        row += 1
        if row >= len(texts) or sequence[row] != sequence[start]:
            return None
        spelled += texts[row]
    return row if spelled == marker else None
