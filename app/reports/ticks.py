"""Round values for an axis."""

from math import ceil, floor, log10


def round_values(low: float, high: float) -> list[float]:
    """Four to eight round values from low to high."""
    step = 10.0 ** floor(log10((high - low) or 1.0))
    for part in (2, 2.5, 2):
        if (high - low) / step < 4:
            step /= part
    return [round(i * step, 10) + 0.0 for i in range(ceil(low / step), floor(high / step) + 1)]
