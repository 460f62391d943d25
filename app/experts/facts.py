"""What a store says about one expert: its tokens, contexts, positions, roles, and with whom it is selected."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from probes.reading import content, sequence_of_row, token_mask
from workbench import Store
from workbench.store import Routing

_BINS = 60


class Selected(NamedTuple):
    """Which rows of `store.tokens` were routed in this layer, and which went to the expert, with what weight."""

    routed: np.ndarray
    hit: np.ndarray
    weight: np.ndarray


class Context(NamedTuple):
    """Text around a token that went to the expert: rows first..last of `store.tokens`, the token at `row`."""

    first: int
    last: int
    row: int


def selected_by(routing: Routing, expert: int) -> Selected:
    """The rows that selected the expert."""
    at = routing.expert == expert
    return Selected(routing.expert[:, 0] >= 0, at.any(axis=1), np.where(at, routing.weight, 0).sum(axis=1))


def said(store: Store, found: Selected) -> Selected:
    """The same among what was said: without the chat template's tokens."""
    kept = content(store)
    return found._replace(routed=found.routed & kept, hit=found.hit & kept)


def top_tokens(store: Store, found: Selected, by: str = "nPMI", at_least: int = 5, most: int = 15) -> pd.DataFrame:
    """Rows of token, id, selected, of, share, lift, nPMI of the tokens that go most with the expert.

        lift = P(expert | token) / P(expert);  nPMI = log2(lift) / -log2(P(expert, token)), as in `probes.npmi`

    Only tokens routed `at_least` times: a token seen once and selected once has the largest lift there can be.
    """
    ids, first, row = np.unique(
        store.tokens["token_id"].to_numpy()[found.routed], return_index=True, return_inverse=True
    )
    hit = found.hit[found.routed]
    of, k = np.bincount(row), np.bincount(row, hit)
    with np.errstate(divide="ignore", invalid="ignore"):
        lift = k * len(hit) / (of * hit.sum())
        npmi = np.where(k == len(hit), 0.0, np.log2(lift) / np.log2(len(hit) / k))
    names = store.tokens["token"].to_numpy()[np.flatnonzero(found.routed)[first]]
    frame: Any = pd.DataFrame(
        {"token": names, "id": ids, "selected": k.astype(int), "of": of, "share": k / of, "lift": lift, "nPMI": npmi}
    )
    frame = frame[(frame["of"] >= at_least) & (frame["selected"] > 0)]
    return frame.sort_values([by, "selected"], ascending=False, ignore_index=True).head(most)


def contexts(store: Store, found: Selected, *, spread: bool = False, most: int = 5, around: int = 12) -> list[Context]:
    """Where the expert was selected, each in another response: with the largest weights, or spread over all weights."""
    rows = np.flatnonzero(found.hit)
    rows = rows[np.argsort(-found.weight[rows], kind="stable")]
    sequence = sequence_of_row(store)
    _, first = np.unique(sequence[rows], return_index=True)
    rows = rows[np.sort(first)]
    if spread and len(rows) > most:
        rows = rows[np.linspace(0, len(rows) - 1, most).round().astype(int)]
    return [_window(sequence, int(row), around) for row in rows[:most]]


def by_position(store: Store, found: Selected) -> pd.DataFrame:
    """Rows of position (the first of its bin), share of the tokens there that select the expert, n tokens."""
    position = store.tokens["position"].to_numpy()[found.routed]
    width = max(1, -(-(int(position.max(initial=0)) + 1) // _BINS))
    bins = position // width
    n, k = np.bincount(bins), np.bincount(bins, found.hit[found.routed])
    frame: Any = pd.DataFrame({"position": np.arange(len(n)) * width, "share": k / np.maximum(n, 1), "n": n})
    return frame[frame["n"] > 0]


def by_role(store: Store, found: Selected) -> pd.DataFrame:
    """Rows of tokens (a role, or prompt and response as wholes), share of them that select the expert, n tokens."""
    roles = store.tokens["role"].astype(str).to_numpy()
    masks = {f"role {role}": roles == role for role in sorted(set(roles))}
    masks |= {"prompt": token_mask(store, "prompt"), "response": token_mask(store, "response")}
    rows = [(name, found.hit[m & found.routed], int((m & found.routed).sum())) for name, m in masks.items()]
    return pd.DataFrame([(name, hit.mean(), n) for name, hit, n in rows if n], columns=["tokens", "share", "n"])


def partners(pairs: pd.DataFrame, expert: int, rate: float, most: int = 12) -> pd.DataFrame:
    """Rows of expert, given (share of this expert's tokens that select the other too), alone (its share of all tokens), lift.

    pairs: every pair of one layer, as `probes.co_selection` has them; rate: this expert's share of all tokens.
    """
    ends = ("expert", "other_expert")
    mine = [pairs[(pairs[end] == expert) & (pairs["n"] > 0)] for end in ends]
    found: Any = pd.concat([part.assign(other=part[end]) for part, end in zip(mine, reversed(ends), strict=True)])
    found = found.assign(given=found["share"] / rate, alone=found["expected"] / rate)
    found = found[["other", "given", "alone", "lift"]].rename(columns={"other": "expert"})
    return found.sort_values(["given", "expert"], ascending=[False, True], ignore_index=True).head(most)


def _window(sequence: np.ndarray, row: int, around: int) -> Context:
    start, end = np.searchsorted(sequence, [sequence[row], sequence[row] + 1])
    return Context(max(int(start), row - around), min(int(end) - 1, row + around), row)
