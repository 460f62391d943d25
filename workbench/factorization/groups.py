"""One layer's neurons dealt into groups, and the router that is to choose among them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from workbench.errors import WorkbenchError, listed

from .sizes import GRAIN


@dataclass(frozen=True, eq=False)
class Groups:
    """The neurons of one dense MLP, each of them once.

    routed  int64 [experts, size], a row for each routed expert
    shared  int64 [shared experts x size], what the shared expert holds; may be empty
    """

    routed: Tensor
    shared: Tensor

    @property
    def neurons(self) -> int:
        """How many neurons there are in all."""
        return self.routed.numel() + self.shared.numel()


@dataclass(frozen=True, eq=False)
class Router:
    """One layer's router: scores are weight @ x, the top-k are those of sigmoid(score) + bias, each weighs 2 sigmoid(score).

    weight  [experts, hidden]
    bias    [experts]; it selects, and weighs nothing
    """

    weight: Tensor
    bias: Tensor


def deal(neurons: int, routed: int, shared: int, seed: int, kept: Sequence[int] = ()) -> Groups:
    """Groups of equal size, dealt at random by `seed`.

    routed, shared  how many groups are routed experts, and how many the shared expert holds
    kept            neurons that are to lie in routed expert 0 together, such as the writers of a massive activation

    Raises `WorkbenchError` where the groups cannot be equal or `kept` does not fit into one.
    """
    size, rest = divmod(neurons, routed + shared)
    if rest:
        raise WorkbenchError(f"{neurons} neurons cannot be dealt into {routed + shared} equal groups.")
    if len(kept) > size:
        raise WorkbenchError(
            f"{len(kept)} neurons are to be kept in one expert, which holds {size}; make fewer groups."
        )
    drawn = torch.randperm(neurons, generator=torch.Generator().manual_seed(seed))
    first = torch.tensor(kept, dtype=torch.int64)
    order = torch.cat([first, drawn[~torch.isin(drawn, first)]])
    return Groups(order[: routed * size].reshape(routed, size), order[routed * size :])


def check_groups(groups: Sequence[Groups], layers: int, neurons: int) -> None:
    """Raises `WorkbenchError` unless there is one for every layer, all of one shape, and each holds every neuron once."""
    if len(groups) != layers:
        raise WorkbenchError(f"There are groups for {len(groups)} layers of a model with {layers}; give one of each.")
    for layer, found in enumerate(groups):
        (experts, size), first = found.routed.shape, groups[0]
        if found.routed.shape != first.routed.shape or found.shared.shape != first.shared.shape or experts < 2:
            raise WorkbenchError(
                f"Layer {layer} has groups {tuple(found.routed.shape)} and {len(found.shared)} shared neurons where layer 0 has "
                f"{tuple(first.routed.shape)} and {len(first.shared)}; an architecture holds one shape of two experts or more."
            )
        if len(found.shared) % size or size % GRAIN:
            raise WorkbenchError(
                f"Layer {layer} has groups of {size} neurons and {len(found.shared)} shared ones; a group is a multiple of "
                f"{GRAIN} neurons, and the shared expert a multiple of a group."
            )
        counts = torch.cat([found.routed.reshape(-1), found.shared])
        if counts.numel() != neurons or not torch.equal(counts.sort().values, torch.arange(neurons)):
            there = torch.bincount(counts.clamp(0, neurons), minlength=neurons)[:neurons]
            odd = (there != 1).nonzero()[:, 0].tolist()
            raise WorkbenchError(
                f"The groups of layer {layer} have to hold each of {neurons} neurons once; look at {listed(odd)}."
            )


def check_routers(routers: Sequence[Router], groups: Sequence[Groups], hidden: int) -> None:
    """Raises `WorkbenchError` unless every layer has a router of its experts."""
    experts = groups[0].routed.shape[0]
    if len(routers) != len(groups):
        raise WorkbenchError(f"There are {len(routers)} routers for {len(groups)} layers; give one for each.")
    for layer, router in enumerate(routers):
        if tuple(router.weight.shape) != (experts, hidden) or tuple(router.bias.shape) != (experts,):
            raise WorkbenchError(
                f"The router of layer {layer} is {tuple(router.weight.shape)} with a bias of {tuple(router.bias.shape)}; "
                f"{experts} experts of a model of width {hidden} need ({experts}, {hidden}) and ({experts},)."
            )
