"""What plans changed in requests that are known by a name, for whoever answers them: counted once a position, until it is taken.

Several requests may have one name (the samples of one call); their counts are one. A token that came from the prefix cache was
computed before, and is counted as that.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

COUNTED = ("tokens", "tokens_changed", "slots_changed", "tokens_emptied", "tokens_cached")


@dataclass
class Doses:
    """By name the counts of its requests; `handed`: by request the position up to which it was counted."""

    counts: dict[str, dict[str, int]] = field(default_factory=dict[str, dict[str, int]])
    failed: dict[str, str] = field(default_factory=dict[str, str])
    handed: dict[str, int] = field(default_factory=dict[str, int])

    def count(self, spans: Sequence[Any], names: Sequence[str], changed: torch.Tensor, emptied: torch.Tensor) -> None:
        """One forward of requests; names: of each, empty where nobody asked. changed, emptied: [tokens] (see `StepTensors`)."""
        if not any(names):
            return
        counted = [tensor.cpu().numpy() for tensor in (changed, emptied)]  # one copy a forward, whoever asked
        for span, name in zip(spans, names, strict=True):
            if name:
                self._add(name, span, *(array[span.rows] for array in counted))

    def _add(self, name: str, span: Any, changed: np.ndarray, emptied: np.ndarray) -> None:
        found = self.counts.setdefault(name, dict.fromkeys(COUNTED, 0))
        if span.request not in self.handed:
            self.handed[span.request] = int(span.positions[0])
            found["tokens_cached"] += int(span.positions[0])
        new = span.positions >= self.handed[span.request]  # after preemption positions are forwarded once more
        self.handed[span.request] = max(self.handed[span.request], int(span.positions[-1]) + 1)
        found["tokens"] += int(new.sum())
        found["tokens_changed"] += int((changed[new] > 0).sum())
        found["slots_changed"] += int(changed[new].sum())
        found["tokens_emptied"] += int(emptied[new].sum())

    def end(self, request: str) -> None:
        """A request will not run again; what was counted of it stays until it is taken."""
        self.handed.pop(request, None)

    def take(self, name: str) -> dict[str, Any]:
        """The counts under a name, which is forgotten; with "failed", half a sentence, where its plan was not in force."""
        found: dict[str, Any] = self.counts.pop(name, dict.fromkeys(COUNTED, 0))
        return found | ({"failed": self.failed.pop(name)} if name in self.failed else {})
