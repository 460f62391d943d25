"""The README.md of a rewritten model: what it is, where it comes from, what was changed, under which licence."""

from collections.abc import Mapping
from typing import Any

from workbench.version import __version__

from .sizes import Sizes


def card(source: str, family: str, architecture: str, sizes: Sizes, exact: bool, licences: list[str], made: str) -> str:
    """The card as Markdown. family: the dense model's class; made: how the groups and routers were found, in sentences."""
    groups = f"{sizes.experts} groups of the neurons of the dense network"
    function = (
        "Every group is on for every token, so it computes the same function as the dense model (up to rounding)."
        if exact
        else f"A token gets {sizes.top_k} of {sizes.routed} routed groups, so its answers differ from the dense model's."
    )
    said = (
        f"The licence of {source} holds for this model as well; its files are copied here: {', '.join(licences)}."
        if licences
        else f"No licence file lay beside {source}; its licence holds for this model as well, so look it up there."
    )
    return f"""---
library_name: transformers
base_model: {source}
tags: [moe, factorized-dense-model]
---

# {source}, a dense model, written as a mixture of experts

The experts of this model are {groups}, not experts that were trained as such. {function}

## Where it comes from

Source: `{source}`, a {family}. {said}

## What was changed

- In every layer the neurons of the MLP are cut into {sizes.experts} groups of equal size: {sizes.routed} are routed experts, each
  a group of neurons of the dense network, and {sizes.shared} make up the shared expert.
- The architecture is transformers' `{architecture}`. Attention, norms and embeddings are those of the source; where its code adds
  or multiplies a constant, that constant lies in the weights here.

## How it was made

`workbench factorize` of MoE Workbench {__version__}. {made} `factorization.json` holds the same as data.
"""


def plan_of(
    source: str, revision: str | None, sizes: Sizes, exact: bool, seed: int | None, digests: Mapping[str, str]
) -> dict[str, Any]:
    """What factorization.json says: enough to tell this rewrite from another. digests: of weights, groups, routers."""
    return {
        "what": "a dense model whose MLPs are cut into groups, which are the experts",
        "source": source,
        "revision": revision,
        "groups": sizes.experts,
        "shared_groups": sizes.shared,
        "top_k": sizes.routed if exact else sizes.top_k,
        "exact": exact,
        "seed": seed,
        "workbench": __version__,
        **digests,
    }
