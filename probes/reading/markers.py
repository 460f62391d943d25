"""Finding where a marker such as `<think>` stands: in one token, or spread over several."""

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from probes.reading.tokens import prompt_length, sequence_of_row
from workbench.errors import WorkbenchError, suggestion
from workbench.thinking import MARKERS

if TYPE_CHECKING:
    from workbench.store import Store

Marker = str | int
_TO_THE_MODEL = ("system", "user", "tool")


def find_marker(store: "Store", marker: Marker, among: np.ndarray, *, mentioned: bool = True) -> np.ndarray:
    """Bool [rows of store.tokens]: the marker's occurrences, each at one token, out of the rows `among`.

    mentioned: False leaves out a marker of thoughts where system, user or tool only speak of it.

    An int is a token id. A string is found in tokens that equal it, a leading space aside; where none does, in runs of
    tokens of one sequence that spell it (a marker such as `</think>` may share its ends with what stands around it), and
    counted at the run's last token, the first that has read the whole marker (ours: the paper says nothing of markers of
    several tokens).
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
            found = spelled(texts.fillna("").tolist(), sequence_of_row(store), marker) & among
        if marker in MARKERS and not mentioned:
            found &= ~_is_mentioned(store)
    if not found.any():
        known = sorted({str(t) for t in tokens["token"].dropna().unique() if "<" in str(t)})
        near = suggestion(str(marker), known) or f"; tokens with angle brackets are {', '.join(known[:8]) or 'none'}."
        if n := int((_equal(tokens["token"].fillna("").to_numpy(object), str(marker)) & ~among).sum()):
            near = f"; it is at {n:,} others, which tokens='all' reads."
        raise WorkbenchError(
            f"The marker '{marker}' is at none of the {int(among.sum())} tokens read of '{store.path}'{near}"
        )
    return found


def _equal(texts: np.ndarray, marker: str) -> np.ndarray:
    distinct, code = np.unique(texts.astype(str), return_inverse=True)
    return np.array([t in (marker, f" {marker}") for t in distinct], bool)[code]


def spelled(texts: list[str], sequence: np.ndarray, marker: str) -> np.ndarray:
    """The last tokens of runs that spell the marker; one such as `</think>` may share tokens with what stands around it."""
    out = np.zeros(len(texts), bool)
    if not marker or not any(marker[0] in text for text in texts):
        return out
    for rows in np.split(np.arange(len(texts)), np.flatnonzero(np.diff(sequence)) + 1):
        said = [texts[row] for row in rows]
        stops = np.cumsum([len(text) for text in said])
        for found in re.finditer(re.escape(marker), "".join(said)):
            first, last = (int(np.searchsorted(stops, at, "right")) for at in (found.start(), found.end() - 1))
            before = said[first][: found.start() - stops[first]]  # of the same token
            begins = before in ("", " ") or not marker[0].isalnum()
            out[rows[last]] |= begins and (found.end() == stops[last] or not marker[-1].isalnum())
    return out


def _is_mentioned(store: "Store") -> np.ndarray:
    """Bool [rows of store.tokens]: what system, user or tool say, and what the tokenizer made special within it.

    The last token of a prompt is not: there a template opens the thought of the response.
    """
    tokens: Any = store.tokens
    prompt, sequence = tokens["position"].to_numpy() < prompt_length(store), sequence_of_row(store)
    said = tokens["role"].isin(_TO_THE_MODEL).to_numpy() & prompt
    same = np.diff(sequence) == 0
    near = said.copy()
    near[1:] |= said[:-1] & same
    near[:-1] |= said[1:] & same
    shown = np.flatnonzero(prompt & ~tokens["token"].fillna("").str.strip().eq("").to_numpy())
    last = shown[np.append(np.diff(sequence[shown]) != 0, True)] if len(shown) else shown
    own = tokens["role"].isin(("special", "template", *_TO_THE_MODEL)).to_numpy()
    near[last[~said[last]]] = False
    return near & prompt & own
