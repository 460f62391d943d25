"""The experts of a store in one order: what counts by layer and expert are flattened to."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from workbench.store import Store


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
