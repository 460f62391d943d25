"""A layer's neurons in groups that are active together, the most active of all in the shared expert.

Neurons are compared by what they add to the residual stream: |activation| x the length of the row that it writes. Groups are
the balanced k-means of the square roots of these, centred over tokens: a neuron goes to the nearest group with room, the surest
neurons first.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from .groups import Groups
from .sizes import Sizes

_ROUNDS = 6


def coactive(added: Tensor, sizes: Sizes, *, kept: Sequence[int] = (), seed: int = 0) -> Groups:
    """Groups of one layer by co-activation.

    added  [tokens, neurons] what each neuron adds, as a length of at least 0
    kept   neurons that are to lie in routed expert 0 together, such as the writers of a massive activation: cut apart, what
           they write would be nobody's
    """
    size, held = added.shape[1] // sizes.experts, torch.tensor(kept, dtype=torch.int64)
    activity = added.mean(0).index_fill(0, held, -1.0)
    shared = activity.topk(sizes.shared * size).indices.sort().values
    rest = torch.arange(added.shape[1])
    rest = rest[~torch.isin(rest, shared)]
    group = _balanced(_directions(added[:, rest]), sizes.routed, size, torch.isin(rest, held), seed)
    return Groups(torch.stack([rest[group == e] for e in range(sizes.routed)]), shared)


def _directions(added: Tensor) -> Tensor:
    """A unit vector over tokens for each neuron [neurons, tokens]."""
    centred = added.sqrt().T
    centred = centred - centred.mean(1, keepdim=True)
    return centred / centred.norm(dim=1, keepdim=True).clamp(min=1e-12)


def _balanced(directions: Tensor, groups: int, size: int, held: Tensor, seed: int) -> Tensor:
    """The group of each direction [neurons]: k-means whose groups are of one size; those `held` lie in group 0."""
    drawn = torch.randperm(len(directions), generator=torch.Generator().manual_seed(seed))
    centres = directions[drawn[:groups]]
    group = torch.zeros(len(directions), dtype=torch.int64)
    for _ in range(_ROUNDS):
        group = _assigned(directions @ centres.T, size, held)
        sums = torch.zeros_like(centres).index_add_(0, group, directions)
        centres = sums / sums.norm(dim=1, keepdim=True).clamp(min=1e-12)
    return group


def _assigned(likeness: Tensor, size: int, held: Tensor) -> Tensor:
    """Each neuron's group, given its likeness to each [neurons, groups]: the surest pairs first, while there is room."""
    neurons, groups = likeness.shape
    likeness = likeness.masked_fill(held[:, None], -torch.inf)
    likeness[held, 0] = torch.inf
    found, room, left = [-1] * neurons, [size] * groups, neurons
    for pair in likeness.flatten().argsort(descending=True, stable=True).tolist():
        neuron, group = divmod(pair, groups)
        if found[neuron] < 0 and room[group]:
            found[neuron], room[group], left = group, room[group] - 1, left - 1
            if not left:
                break
    return torch.tensor(found)
