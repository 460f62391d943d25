"""How alike the experts of a layer are, as cosines of their router's rows, their logits, their outputs or their weights."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from workbench.store import Store

DECIMALS = 12
"""So that sums in another order are equal, and equal experts have cosine 1."""
_LEAST = 4
"""Tokens that unbiased HSIC needs."""


class Cosines(NamedTuple):
    """One layer's experts, each with each."""

    layer: int
    cosine: np.ndarray
    """[experts, experts] in [-1, 1]; NaN where there is nothing to compare, or nothing but zeros."""
    n: np.ndarray
    """[experts, experts] what it is over: channels, tokens read, tokens that selected both, or neurons."""


def rows_of(store: "Store", layer: int, *, centred: bool) -> np.ndarray:
    """[experts, hidden] a router's rows by expert; centred: without the mean of them all."""
    frame, size = store.table("routers", ["expert", "row"], [layer]), store.anatomy.layer(layer).n_experts
    rows = np.full((size, len(frame["row"].iloc[0])), np.nan)
    rows[frame["expert"].to_numpy()] = np.stack(frame["row"].to_list())
    return rows - rows.mean(axis=0) if centred else rows


def of_routers(store: "Store", layers: tuple[int, ...], *, centred: bool) -> Iterator[Cosines]:
    """Of the rows of each router. Raises `WorkbenchError` where the store kept no routers."""
    for layer in layers:
        rows = rows_of(store, layer, centred=centred)
        yield Cosines(layer, _cosine(rows @ rows.T), np.full((len(rows), len(rows)), rows.shape[1]))


def of_logits(store: "Store", layers: tuple[int, ...], read: np.ndarray, *, centred: bool) -> Iterator[Cosines]:
    """Of the columns of router logits over the tokens read, bool [rows]; sums alone are held."""
    for layer in layers:
        size = store.anatomy.layer(layer).n_experts
        products, tokens = np.zeros((size, size)), 0
        for logits in _logits(store, layer, read):
            own = logits[:, :size]  # a class that skips comes after the experts
            own = own - own.mean(axis=1, keepdims=True) if centred else own
            products += own.T @ own
            tokens += len(own)
        yield Cosines(layer, _cosine(products), np.full((size, size), tokens))


def _logits(store: "Store", layer: int, read: np.ndarray) -> Iterator[np.ndarray]:
    """Batches of the router's logits [n, classes] of tokens read; those with one that is NaN are left out."""
    for batch in store.scan("logits", [*store.key_columns, "router_logits"], [layer]):
        if batch.num_rows:
            row = store.token_index.rows(batch)
            logits = batch.column("router_logits").flatten().to_numpy().reshape(batch.num_rows, -1)
            kept = (row >= 0) & ~np.isnan(logits).any(axis=1)
            kept[kept] = read[row[kept]]
            yield logits[kept].astype(np.float64)


def of_weights(store: "Store", layers: tuple[int, ...]) -> Iterator[Cosines]:
    """Of the weights, the neurons of one in the order that fits the other best. Raises `WorkbenchError` without alignments."""
    for layer in layers:
        size = store.anatomy.layer(layer).n_experts
        frame: Any = store.table("alignments", ["expert", "other_expert", "aligned", "n_neurons"], [layer])
        i, j = frame["expert"].to_numpy(), frame["other_expert"].to_numpy()
        cosine, n = np.full((size, size), np.nan), np.zeros((size, size), np.int64)
        cosine[i, j] = cosine[j, i] = np.round(np.clip(frame["aligned"].to_numpy(float), -1, 1), DECIMALS)
        n[i, j] = n[j, i] = frame["n_neurons"].to_numpy()
        yield Cosines(layer, cosine, n)


def of_outputs(store: "Store", layers: tuple[int, ...], read: np.ndarray) -> Iterator[Cosines]:
    """The mean over tokens read, bool [rows], of the cosine of what two experts write, where both were selected and kept."""
    for layer in layers:
        size = store.anatomy.layer(layer).n_experts
        total, n = np.zeros((size, size)), np.zeros((size, size), np.int64)
        for part in store.parts("outputs", [*store.key_columns, "expert", "output"], [layer]):
            for first, second, cosine in _pairs(store, part, read):
                np.add.at(total, (first, second), cosine)
                np.add.at(n, (first, second), 1)
        total, n = total + total.T, n + n.T
        mean = np.divide(total, n, out=np.full_like(total, np.nan), where=n > 0)
        yield Cosines(layer, np.round(mean, DECIMALS), n)


def of_kernels(store: "Store", layers: tuple[int, ...], read: np.ndarray) -> Iterator[Cosines]:
    """The linear CKA of what two experts write on the tokens read, bool [rows], that selected both, without its bias."""
    for layer in layers:
        size = store.anatomy.layer(layer).n_experts
        parts = [_written(store, part, read) for part in store.parts("outputs", None, [layer])]
        row, expert, vectors = (np.concatenate(values) for values in zip(*parts, strict=True))
        of = [np.flatnonzero(expert == e) for e in range(size)]
        cka, n = np.full((size, size), np.nan), np.zeros((size, size), np.int64)
        for i in range(size):
            for j in range(i + 1, size):
                both = np.intersect1d(row[of[i]], row[of[j]], assume_unique=True, return_indices=True)
                x, y = vectors[of[i][both[1]]], vectors[of[j][both[2]]]
                once = _once(x, y)
                n[i, j] = n[j, i] = len(once)
                cka[i, j] = cka[j, i] = kernel_alignment(x[once], y[once])
        yield Cosines(layer, np.round(cka, DECIMALS), n)


def _once(x: np.ndarray, y: np.ndarray) -> list[int]:
    """Rows of two tables [n, channels] without those that repeat an earlier one in both: prompts that begin alike give copies,
    and any two tables are aligned over two points.
    """
    first = dict[bytes, int]()
    for number, row in enumerate(np.concatenate([x, y], axis=1)):
        first.setdefault(row.tobytes(), number)
    return list(first.values())


def kernel_alignment(x: np.ndarray, y: np.ndarray) -> float:
    """Linear CKA of two tables [n, channels] of the same n tokens, from unbiased HSIC; NaN below four tokens or for constants."""
    if len(x) < _LEAST:
        return np.nan
    own = _hsic(x, x) * _hsic(y, y)
    return float(np.clip(_hsic(x, y) / np.sqrt(own), -1, 1)) if own > 0 else np.nan


def _hsic(x: np.ndarray, y: np.ndarray) -> float:
    """HSIC_1 of Song et al. (JMLR 2012), eq. 5, of linear kernels K = x x', L = y y' without their diagonals; times n (n - 3)."""
    n = len(x)
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)  # changes nothing but the size of what is rounded
    diagonals = (x**2).sum(axis=1), (y**2).sum(axis=1)
    product = np.linalg.norm(x.T @ y) ** 2 if n > x.shape[1] else float(((x @ x.T) * (y @ y.T)).sum())
    rows = x @ x.sum(axis=0) - diagonals[0], y @ y.sum(axis=0) - diagonals[1]
    total = rows[0].sum() * rows[1].sum() / ((n - 1) * (n - 2))
    return float(product - diagonals[0] @ diagonals[1] + total - 2 / (n - 2) * (rows[0] @ rows[1]))


def _pairs(store: "Store", part: object, read: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Two experts of one token each, with the cosine of their outputs; a shard holds the whole of a token."""
    row, expert, vectors = _written(store, part, read)
    with np.errstate(invalid="ignore", divide="ignore"):
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for apart in range(1, len(row)):
        same = np.flatnonzero(row[apart:] == row[:-apart])
        if not len(same):
            return
        cosine = np.clip((unit[same] * unit[same + apart]).sum(axis=1), -1, 1)
        finite = np.isfinite(cosine)
        yield expert[same[finite]], expert[same[finite] + apart], cosine[finite]


def _written(store: "Store", part: object, read: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of tokens read, in order, the routed experts they selected, and what these wrote [slots, hidden]."""
    table = store.read(part, [*store.key_columns, "expert", "output"])  # pyright: ignore[reportArgumentType]
    if not table.num_rows:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, store.anatomy.hidden_size))
    batch = table.combine_chunks().to_batches()[0]
    row, expert = store.token_index.rows(batch), batch.column("expert").to_numpy(zero_copy_only=False)
    vectors = batch.column("output").flatten().to_numpy(zero_copy_only=False).reshape(len(row), -1)
    kept = (expert >= 0) & (row >= 0)
    kept[kept] = read[row[kept]]
    order = np.flatnonzero(kept)[np.argsort(row[kept], kind="stable")]
    return row[order], expert[order], vectors[order].astype(np.float64)


def _cosine(products: np.ndarray) -> np.ndarray:
    """From inner products of the vectors, each with each."""
    size = np.sqrt(np.diag(products))
    below = np.outer(size, size)
    cosine = np.divide(products, below, out=np.full_like(products, np.nan), where=below > 0)
    return np.round(np.clip(cosine, -1, 1), DECIMALS)
