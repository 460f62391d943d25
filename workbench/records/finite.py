"""Values that are not finite, counted by sequence, layer and expert as a batch is captured.

A broken weight, an overflow in fp16 or a bad scale makes one expert write NaN or infinity, and everything behind it. A token's
output counts as the expert's *own* doing when the layer's routing weights of that token are finite: what went in was finite.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from torch import Tensor

from workbench.records.forward import LayerRecord, ResidualRecord
from workbench.records.harvest import Chunk

COLUMNS = ("sequence", "layer", "what", "expert", "n_tokens", "n_own", "first_position")


class Spot(NamedTuple):
    """Tokens of one layer with a value that is not finite: rows [n], their experts [n] and whether it is the expert's own."""

    layer: int
    what: str
    rows: np.ndarray
    expert: np.ndarray | None = None
    own: np.ndarray | None = None


def not_finite(chunk: Chunk) -> pd.DataFrame:
    """`COLUMNS`, a row per sequence, layer, quantity (`STAGES`) and expert (null where it is no expert's).

    Mostly empty.
    """
    routed = (spot for layer, record in chunk.layers.items() for spot in _routed(layer, record))
    stream = (spot for layer, record in chunk.residual.items() for spot in _stream(layer, record))
    found = [_counted(spot, chunk.sequence, chunk.position) for spot in (*routed, *stream) if len(spot.rows)]
    return pd.concat(found, ignore_index=True) if found else NOTHING


def logits_not_finite(
    layer: int, sequence: np.ndarray, first: np.ndarray, logprobs: Iterable[Iterable[float]]
) -> pd.DataFrame:
    """The same for next-token logits, by the log-probabilities of a response's tokens: NaN where a logit is NaN or +inf.

    layer: one above the last decoder layer. sequence, first: [responses] number, and the position that made its first token.
    """
    bad = [np.flatnonzero(~np.isfinite(np.asarray(list(row), np.float64))) for row in logprobs]
    rows = np.repeat(np.arange(len(bad)), [len(x) for x in bad])
    position = first[rows] + np.concatenate([*bad, np.zeros(0, np.int64)])
    if not len(rows):
        return NOTHING
    return _counted(Spot(layer, "logits", np.arange(len(rows))), sequence[rows], position.astype(np.int64))


def _routed(layer: int, record: LayerRecord) -> Iterator[Spot]:
    if record.logits is not None:
        rows, expert = _bad(record.logits)
        yield Spot(layer, "router_logits", rows, expert)
    index = record.index.numpy()
    rows, slot = _bad(record.weight)
    yield Spot(layer, "weight", rows, index[rows, slot])
    if record.output_l2 is not None:  # a norm is finite only where every value is
        rows, slot = _bad(record.output_l2)
        yield Spot(layer, "output", rows, index[rows, slot], _is_own(record, rows))
    elif record.outputs is not None:
        at = np.unique(_bad(record.outputs.vectors)[0])
        rows = record.outputs.slots.numpy()[at] // index.shape[1]
        yield Spot(layer, "output", rows, record.outputs.experts.numpy()[at], _is_own(record, rows))
    yield from _shared(layer, record)


def _shared(layer: int, record: LayerRecord) -> Iterator[Spot]:
    for s, shared in enumerate(record.shared):
        (rows,) = _bad(shared.weight)
        yield Spot(layer, "weight", rows, np.full(len(rows), -1 - s))
        of = shared.vectors if shared.size is None else shared.size.l2
        if of is not None:
            rows = np.unique(_bad(of)[0])
            yield Spot(layer, "output", rows, np.full(len(rows), -1 - s), _is_own(record, rows))


def _bad(values: Tensor) -> tuple[np.ndarray, ...]:
    """Where values are not finite, as `np.nonzero` says it. A sum is finite only where all values are, and is seen sooner."""
    array = values.numpy()
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(array.sum()):
            return tuple(np.zeros(0, np.int64) for _ in values.shape)
    return np.nonzero(~np.isfinite(array))


def _is_own(record: LayerRecord, rows: np.ndarray) -> np.ndarray:
    """Bool [rows]: whether the layer's routing weights of the token are finite, and so was what went into its experts."""
    return np.asarray(np.isfinite(record.weight.numpy()[rows]).all(axis=1))


def _stream(layer: int, record: ResidualRecord) -> Iterator[Spot]:
    if record.routed_change is not None:
        yield Spot(layer, "routed_change", _bad(record.routed_change)[0])
    yield Spot(layer, "residual", _bad(record.l2)[0])


def _counted(spot: Spot, sequence: np.ndarray, position: np.ndarray) -> pd.DataFrame:
    """The spot's rows of `COLUMNS`."""
    expert = np.zeros(len(spot.rows), np.int64) if spot.expert is None else spot.expert
    own = np.zeros(len(spot.rows), bool) if spot.own is None else spot.own
    columns = {"sequence": sequence[spot.rows], "expert": expert, "position": position[spot.rows], "own": own}
    groups: Any = pd.DataFrame(columns).groupby(["sequence", "expert"], sort=True)
    found: Any = groups.agg(n_tokens=("own", "size"), n_own=("own", "sum"), first_position=("position", "min"))
    found = found.reset_index().assign(layer=spot.layer, what=spot.what)
    if spot.expert is None:
        found["expert"] = pd.NA
    if spot.own is None:
        found["n_own"] = pd.NA
    return _typed(found[list(COLUMNS)])


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    numbers = dict.fromkeys(("sequence", "layer", "n_tokens", "first_position"), "int64")
    return frame.astype({**numbers, "what": "object", "expert": "Int32", "n_own": "Int64"})


NOTHING = _typed(pd.DataFrame(columns=list(COLUMNS)))
"""The same for a batch with finite values alone, made once: that is nearly every batch."""
