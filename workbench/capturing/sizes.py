"""How big a store will be, before it starts, and whether the disk holds it."""

import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from workbench.anatomy import Anatomy
from workbench.errors import WorkbenchError

# Bytes per row (or float) on disk. Measured 2026-11-22 on random fp32 values, which hardly compress: 11.8 for a slot with
# its sizes, 3.4 for a router logit; ids and keys almost vanish. Rounded up.
_SLOT, _SLOT_NORMS, _RESIDUAL, _TOKEN, _KEYS, _FLOAT = 5.0, 9.0, 16.0, 4.0, 0.5, 3.7
_DIRECTION = 100.0  # eight words with ids and logits
_ALIGNMENT = 18.0  # two cosines
_MATRICES = 60.0  # of an expert: three rows of two float64 sums, which hardly compress


@dataclass(frozen=True)
class Estimate:
    """Expected size of a store in bytes, by table; an upper bound for a generating capture that may stop early."""

    tokens: int
    tables: dict[str, int]

    @property
    def total(self) -> int:
        """All tables together."""
        return sum(self.tables.values())

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {readable(size)}" for name, size in self.tables.items() if size)
        return f"about {readable(self.total)} for {self.tokens:,} tokens ({parts})"


def estimate(
    anatomy: Anatomy,
    tokens: int,
    keep: Collection[str],
    layers: Collection[int] | None = None,
    experts: Collection[tuple[int, int]] | None = None,
    n_directions: int = 0,
    neurons: Mapping[int, int] | None = None,
) -> Estimate:
    """The size of a capture of `tokens` tokens. `layers` and `experts` limit what they limit in `capture`.

    n_directions  rows of `directions`, which the anatomy does not tell
    neurons       of an expert, by layer: which it does not tell either
    """
    moe = [anatomy.layer(n) for n in anatomy.moe_layers]
    slots = sum(x.top_k + x.n_shared for x in moe)
    chosen = [x for x in moe if layers is None or x.layer in layers]
    logits = sum(x.n_experts for x in chosen)
    # a chosen expert is expected to receive its even share of the slots, a shared one every token
    outputs = inner = 0.0
    for x in chosen:
        wanted = range(-x.n_shared, x.n_experts) if experts is None else [e for n, e in experts if n == x.layer]
        routed = sum(x.top_k / x.n_experts for e in wanted if e >= 0)
        outputs += routed + sum(e < 0 for e in wanted)
        inner += routed * ((neurons or {}).get(x.layer, 0) * _FLOAT + _KEYS)
    per_token = {
        "tokens": _TOKEN,
        "slots": slots * (_SLOT_NORMS + _SLOT if "norms" in keep else _SLOT),
        "residual": _RESIDUAL * (len(anatomy.layers) + 1) if "residual" in keep else 0.0,
        "logits": logits * _FLOAT + _KEYS if "logits" in keep else 0.0,
        "outputs": share_of("outputs", keep) * outputs * (anatomy.hidden_size * _FLOAT + _KEYS),
    }
    vectors = len(chosen) * (anatomy.hidden_size * _FLOAT + _KEYS)
    for name, table, size in (("router_input", "router_inputs", vectors), ("inner", "inner", inner)):
        per_token |= {table: share_of(name, keep) * size} if share_of(name, keep) else {}
    once = {"matrices": logits * _MATRICES, "routers": logits * anatomy.hidden_size * _FLOAT}
    once["directions"] = n_directions * _DIRECTION
    once["alignments"] = _ALIGNMENT * sum(x.n_experts * (x.n_experts - 1) / 2 for x in chosen)
    of_model = {name: round(size) for name, size in once.items() if name in keep}
    return Estimate(tokens, {name: round(size * tokens) for name, size in per_token.items()} | of_model)


def share_of(what: str, keep: Collection[str]) -> float:
    """The share of tokens of which `what` is kept: 1 for "outputs", 0.1 for "outputs:0.1", 0 for neither."""
    found = [name for name in keep if name.partition(":")[0] == what]
    return float(found[0].partition(":")[2] or 1) if found else 0.0


def check_disk(store: Path, needed: Estimate) -> None:
    """Raises `WorkbenchError` when the disk that would hold `store` has less free space than needed."""
    folder = next(p for p in (store, *store.absolute().parents) if p.exists())
    free = shutil.disk_usage(folder).free
    if needed.total > free:
        raise WorkbenchError(
            f"The store '{store}' needs {needed}, and its disk has {readable(free)} free; free some space, keep fewer "
            f"tables, or limit layers and experts."
        )


def readable(size: float) -> str:
    """Bytes as people say them: 512 B, 3.4 MB, 12 GB (powers of 1,000)."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 9.95 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
