"""From arrays over a store's routed experts to `ExpertScores`."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from probes.flags import add_flags
from probes.scores import ExpertScores, ranked

if TYPE_CHECKING:
    from workbench.store import Store


DECIMALS = 12


class Axis(NamedTuple):
    """The routed experts of the captured layers, in order of layer and number."""

    layer: np.ndarray
    """[experts] decoder layer."""
    expert: np.ndarray
    """[experts] number within the layer."""
    place: np.ndarray
    """[experts] where the expert lies in the flattened [layers, widest layer] arrays of `Store.counts`."""

    def of(self, counted: np.ndarray) -> np.ndarray:
        """[..., experts] from an array [..., layers, widest layer]."""
        return counted.reshape(*counted.shape[:-2], -1)[..., self.place]


def expert_axis(store: "Store", layers: tuple[int, ...]) -> Axis:
    """The experts of these layers; layers may differ in how many they have."""
    sizes = [store.anatomy.layer(layer).n_experts for layer in layers]
    widest = max(sizes, default=0)
    layer = np.repeat(np.array(layers, np.int64), sizes)
    expert = np.concatenate([np.arange(n) for n in sizes]) if sizes else np.zeros(0, np.int64)
    return Axis(layer, expert, np.repeat(np.arange(len(sizes)), sizes) * widest + expert)


def assemble(
    store: "Store",
    method: str,
    options: dict[str, Any],
    axis: Axis,
    columns: dict[str, np.ndarray],
    notes: tuple[str, ...],
) -> ExpertScores:
    """Ranked, flagged, with the store's fingerprint; says so when the store was captured under a steering plan."""
    missing = {
        name: np.full(len(axis.layer), np.nan) for name in ("low", "high", "p", "p_adjusted") if name not in columns
    }
    # equal sums added in another order must tie, and no difference must not pass for a positive one
    exact = {name: np.round(columns[name], DECIMALS) + 0.0 for name in ("score", "low", "high") if name in columns}
    frame = pd.DataFrame({"layer": axis.layer, "expert": axis.expert, **columns, **missing, **exact})
    flagged, flag_notes = add_flags(store, frame)
    return ExpertScores(
        method,
        options,
        ranked(flagged),
        (*steering_note(store), *notes, *flag_notes),
        store.anatomy.fingerprint,
        store.anatomy.model,
    )


def steering_note(store: "Store") -> tuple[str, ...]:
    """A note when the store is not the base model's."""
    plan = store.steering
    return (f"captured under a plan, not the base model: {plan}",) if plan else ()
