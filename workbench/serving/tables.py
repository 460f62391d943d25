"""The edits of all plans in force as tensors on the device, one table a kind and layer, [rows, experts]; row 0 changes nothing.

They are allocated once and written in place, so that whatever reads them by address (a captured graph) goes on reading them.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from workbench.errors import WorkbenchError
from workbench.plan import ROUTING_KINDS
from workbench.routing import LayerEdits
from workbench.serving.scopes import Held

_NEUTRAL = {"bias": 0.0, "scale": 1.0}  # of the tables of numbers; the others hold whether
_MASKS = ("off", "force", "drop", "mute")


class Vectors:
    """What `replace` puts in the place of outputs, [vectors, hidden] in float32; number 0 is nobody's."""

    def __init__(self, n: int, hidden: int, device: torch.device) -> None:
        self.table = torch.zeros(n, hidden, device=device)
        self._numbers: dict[tuple[float, ...], int] = {}

    def number(self, vector: tuple[float, ...]) -> int:
        """Of a vector that is there, or is put there now. Raises `WorkbenchError` where no place is free."""
        if vector not in self._numbers:
            self._numbers[vector] = self._free()
            self.table[self._numbers[vector]] = torch.tensor(vector)
        return self._numbers[vector]

    def _free(self) -> int:
        n, used = len(self.table), set(self._numbers.values())
        found = next((place for place in range(1, n) if place not in used), None)
        if found is None:
            raise WorkbenchError(
                f"All {n - 1} vectors of replace are in use by requests that run; send fewer at once, or load with "
                f"plan_vectors={2 * n}."
            )
        return found

    def keep(self, wanted: Iterable[tuple[float, ...]]) -> None:
        """The others' places are free."""
        kept = set(wanted)
        self._numbers = {vector: n for vector, n in self._numbers.items() if vector in kept}


@dataclass
class LayerTables:
    """One layer's tables. `kinds` by row are those that it holds, `present` those of any row: what none holds is not computed."""

    n_rows: int
    n_experts: int
    vectors: Vectors
    device: torch.device
    kinds: dict[int, frozenset[str]] = field(default_factory=dict[int, frozenset[str]])
    present: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        shape = (self.n_rows, self.n_experts)
        self.masks = {kind: torch.zeros(shape, dtype=torch.bool, device=self.device) for kind in _MASKS}
        self.numbers = {kind: torch.full(shape, x, device=self.device) for kind, x in _NEUTRAL.items()}
        self.replaced = torch.zeros(shape, dtype=torch.long, device=self.device)
        self.edited = torch.zeros(self.n_rows, dtype=torch.bool, device=self.device)
        self.rerouted = torch.zeros(self.n_rows, dtype=torch.bool, device=self.device)

    def write(self, row: int, held: Held) -> None:
        """Puts this layer's edits into a row in place of what it held."""
        edits = LayerEdits(held, self.n_experts, {})
        for kind, table in self.masks.items():
            mask = edits.mask(kind, self.device, None)
            table[row] = False if mask is None else mask[0]
        for kind, table in self.numbers.items():
            values = edits.values(kind, self.device, None)
            table[row] = _NEUTRAL[kind] if values is None else values[0]
        self.replaced[row] = 0
        for edit in held:
            if isinstance(edit.value, tuple):
                self.replaced[row, edit.expert.expert] = self.vectors.number(edit.value)
        self.edited[row], self.rerouted[row] = bool(held), bool(edits.kinds & ROUTING_KINDS)
        self.kinds = {n: kinds for n, kinds in self.kinds.items() if n != row} | ({row: edits.kinds} if held else {})
        self.present = frozenset[str]().union(*self.kinds.values())

    def of(self, kind: str, rows: Tensor) -> Tensor | None:
        """A kind's edits of each token, [tokens, experts]; None where nobody has any."""
        if kind not in self.present:
            return None
        return (self.masks.get(kind) if kind in self.masks else self.numbers[kind])[rows]  # pyright: ignore[reportOptionalSubscript]
