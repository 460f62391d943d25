"""Does `super_experts` with its defaults find exactly the experts that write SmolLM2's massive activation, however dealt?

`python -m tests.real.grid --seeds 0-19` tells it, of the exact rewrite with 8, 16, 24 and 32 experts, with and without a shared
one, for every seed of the grouping; and what it flags on the twin whose two writing neurons are of ordinary size. The truth
is read from the weights, neuron by neuron. One dense forward a text serves all groupings.

The rule flags experts of layers that form a massive activation alone, and sets its limits over theirs; which layers form one
is read of all of them, whatever the grouping. So the layers around layer 11 are enough to be dealt; `--whole` deals all 30.
"""

import argparse
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch

from probes import super_experts
from probes.magnitudes import MassiveRule, forming_layers, verdict
from probes.ranking import refs_of
from tests.real.groups import Watched, groups_store, watched, writers
from tests.real.texts import READ
from tests.real.weights import SMOLLM2, read
from workbench.factorization import deal

NEURONS, LAYERS, LAYER = 1536, 30, 11
"""Layer 11 writes it, with two of its neurons."""
AROUND, WHOLE = range(LAYER - 2, LAYER + 3), range(LAYERS)
"""Which layers are dealt; the others are dense."""
SIZES = {(8, 0), (8, 1), (16, 0), (16, 2), (24, 0), (24, 3), (32, 0), (32, 4)}
"""Experts in all, and how many of them make the shared one."""


class Found(NamedTuple):
    """What one grouping gives: expert names, in order."""

    truth: list[str]
    together: list[str]  # those that are said to write it with others
    flagged: list[str]
    paper: list[str]
    forming: tuple[int, ...]


def two_writers(dense: Any, tokenizer: Any) -> list[int]:
    """The neurons of layer 11 that write more than a thousand into the massive channel, the largest first."""
    wrote = writers(dense, tokenizer(READ[0], return_tensors="pt").input_ids)
    return [n for i, n in sorted(wrote, key=lambda x: -wrote[x]) if i == LAYER and wrote[i, n] > 1000]


def texts(tokenizer: Any) -> list[torch.Tensor]:
    return [tokenizer(text, return_tensors="pt").input_ids for text in READ]


def grouped(experts: int, shared: int, seed: int, layers: range = WHOLE) -> list[list[torch.Tensor]]:
    """By layer, as `workbench factorize` deals them; the shared ones are one group."""
    drawn = [deal(NEURONS, experts - shared, shared, seed + 1000 * layer) for layer in range(LAYERS)]
    dealt = [[*groups.routed, *([groups.shared] if shared else [])] for groups in drawn]
    return [parts if layer in layers else [] for layer, parts in enumerate(dealt)]


def holders(members: list[list[torch.Tensor]], shared: int, neurons: list[int]) -> list[str]:
    """The experts of layer 11 that hold these neurons."""
    at = [next(g for g, m in enumerate(members[LAYER]) if n in m) for n in neurons]
    routed = len(members[LAYER]) - bool(shared)
    return sorted({f"L{LAYER}S0" if g >= routed else f"L{LAYER}E{g}" for g in at})


def found(
    dense: Any, seen: Watched, neurons: list[int], size: tuple[int, int], seed: int, layers: range = AROUND
) -> Found:
    """The truth of one grouping, and what is flagged."""
    members = grouped(*size, seed, layers)
    with tempfile.TemporaryDirectory() as folder:
        store = groups_store(Path(folder) / "store", dense, seen, members, bool(size[1]))
        scores = super_experts(store)
        forming = forming_layers(store, MassiveRule())
    paper: Any = scores.frame[verdict(scores.frame, "paper", forming, LAYERS).passes]
    refs = (scores.flagged("writes with others"), scores.flagged("super expert"), refs_of(paper))
    return Found(holders(members, size[1], neurons), *(sorted(map(str, some)) for some in refs), forming)


@contextmanager
def of_ordinary_size(dense: Any, neurons: list[int]) -> Iterator[None]:
    """The twin: the same model, what these neurons write made a thousand times smaller."""
    down = dense.model.layers[LAYER].mlp.down_proj.weight.data
    before = down.clone()
    down[:, neurons] *= 1e-3
    try:
        yield
    finally:
        down.copy_(before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0-19", help="FIRST-LAST")
    parser.add_argument("--experts", default="8,16,24,32", help="How many in all, one or several by commas.")
    parser.add_argument("--whole", action="store_true", help="Deal every layer, not those around layer 11 alone.")
    asked = parser.parse_args()
    first, last = map(int, asked.seeds.split("-"))
    sizes = sorted(size for size in SIZES if str(size[0]) in asked.experts.split(","))
    os.environ.setdefault("WORKBENCH_REAL", ".venv/real")
    dense, tokenizer = read(SMOLLM2)
    neurons = two_writers(dense, tokenizer)
    _table("the rewrite", dense, watched(dense, texts(tokenizer)), neurons, range(first, last + 1), sizes, asked.whole)
    with of_ordinary_size(dense, neurons):
        seen = watched(dense, texts(tokenizer))
        _table("the twin", dense, seen, neurons, range(first, last + 1), sizes, asked.whole, twin=True)


def _table(
    name: str,
    dense: Any,
    seen: Watched,
    neurons: list[int],
    seeds: range,
    sizes: list[tuple[int, int]],
    whole: bool,
    twin: bool = False,
) -> None:
    print(f"{name}: seeds {seeds[0]} to {seeds[-1]}; neurons {neurons} of layer {LAYER}", flush=True)
    for size in sizes:
        all_found = [found(dense, seen, neurons, size, seed, WHOLE if whole else AROUND) for seed in seeds]
        truths = [[] if twin else x.truth for x in all_found]
        groups = [t if len(t) > 1 else [] for t in truths]
        all_known = zip(seeds, all_found, truths, groups, strict=True)
        wrong = {s: x for s, x, t, g in all_known if (x.flagged, x.together) != (t, g)}
        together = sum(len(x.truth) > 1 for x in all_found)
        paper = sum(x.paper == t for x, t in zip(all_found, truths, strict=True))
        layers = sorted({i for x in all_found for i in x.forming})
        print(
            f"  {size[0]} experts, {size[1]} shared: exactly right {len(seeds) - len(wrong)} of {len(seeds)} (two write it in "
            f"{together}); by the paper's rule {paper}; forming layers {layers}; wrong: {wrong or 'none'}",
            flush=True,
        )


if __name__ == "__main__":
    main()
