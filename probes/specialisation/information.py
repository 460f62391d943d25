"""What one thing known of a token (its id, its position) tells of the experts that it selects."""

import numpy as np


def information(code: np.ndarray, expert: np.ndarray) -> float:
    """Mutual information in bits of code [tokens] and one of the token's selections; expert [tokens, slots], -1 empty.

    Of the joint distribution of (code, expert) over selections; 0 where nothing is selected.
    """
    kind, chosen = _selections(code, expert)
    if not len(chosen):
        return 0.0
    width = int(chosen.max()) + 1
    cell, times = np.unique(kind * np.int64(width) + chosen, return_counts=True)
    of_kind, of_expert = np.bincount(kind), np.bincount(chosen)
    expected = of_kind[cell // width] * of_expert[cell % width] / len(chosen)
    return float((times / len(chosen) * np.log2(times / expected)).sum())


def spread(code: np.ndarray, expert: np.ndarray, n_experts: int, least: int) -> float:
    """Mean over codes with `least` tokens or more of the standard deviation over experts of P(expert | code); null if none.

    P(expert | code): the share of the code's tokens that select the expert.
    """
    times = np.bincount(code)
    often = np.flatnonzero(times >= least)
    if not len(often):
        return float("nan")
    number = np.full(len(times), -1)
    number[often] = np.arange(len(often))
    kind, chosen = _selections(number[code], expert)
    kept = kind >= 0
    cells = np.bincount(kind[kept] * n_experts + chosen[kept], minlength=len(often) * n_experts)
    return float((cells.reshape(len(often), n_experts) / times[often, None]).std(axis=1).mean())


def _selections(code: np.ndarray, expert: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    row, slot = np.nonzero(expert >= 0)
    return code[row], expert[row, slot]
