"""What a million tokens of three large models take as a store: rows and bytes by the estimate that `capture` itself states."""

from workbench.anatomy import Anatomy, LayerAnatomy
from workbench.capturing import estimate

SHAPES = {
    "OLMoE-1B-7B": (16, 0, 64, 8, 0, 2048),
    "Qwen3-30B-A3B": (48, 0, 128, 8, 0, 2048),
    "DeepSeek-V3": (61, 3, 256, 8, 1, 7168),
}
"""Layers, of them dense ones, experts, top-k, shared experts, hidden size."""
KEPT = {"routing alone": (), "norms, residual": ("norms", "residual"), "and logits": ("norms", "residual", "logits")}
MILLION = 1_000_000
ROWS_A_SECOND = 20e6
"""Slot rows with their sizes that one core encodes, measured (docs/speed.md)."""
USD = 0.023
"""A GB and month of object storage; the list price of one provider, which we did not measure."""


def scaling() -> str:
    """A row for each model and what is kept."""
    heads = ("model", "slot rows", "kept", "bytes", "core seconds to encode slots", "USD a month")
    rows = [heads, ("---",) * len(heads)]
    for name, shape in SHAPES.items():
        slots, found = _slots(*shape), _anatomy(*shape)
        for kept, tables in KEPT.items():
            size = estimate(found, MILLION, tables).total / 1e9
            seconds = f"{slots * MILLION / ROWS_A_SECOND:,.0f}"
            rows.append((name, f"{slots:,} M", kept, f"{size:,.1f} GB", seconds, f"{size * USD:.2f}"))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def _slots(layers: int, dense: int, _: int, top_k: int, shared: int, __: int) -> int:
    """Slots of a token."""
    return (layers - dense) * (top_k + shared)


def _anatomy(layers: int, dense: int, experts: int, top_k: int, shared: int, hidden: int) -> Anatomy:
    moe = tuple(LayerAnatomy(n, experts, top_k, shared) for n in range(dense, layers))
    return Anatomy("shape", "none", hidden, 1, "", (*(LayerAnatomy(n) for n in range(dense)), *moe))
