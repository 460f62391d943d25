"""How often is an expert of a random model called a super expert?

`python -m tests.probes.magnitudes.null_super_experts --seeds 0-199` tells it.

Each seed is a tiny random model of one of ten families, with its usual few experts or with 480 and more (from 400 on a
99.5th percentile says something), and six random prompts of one length. Twice: as it is, and with a massive activation that no
expert writes (a layer's output gets 30,000 at the first token), so that there is a layer to look in. Nothing should be flagged.
"""

import argparse
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch

from probes import super_experts
from workbench import capture, load
from workbench.loading import tiny_model, tiny_tokenizer
from workbench.model import MoEModel
from workbench.store import Store

FAMILIES = (
    "mixtral",
    "olmoe",
    "qwen2_moe",
    "qwen3_moe",
    "gpt_oss",
    "deepseek_v2",
    "deepseek_v3",
    "glm4_moe",
    "ernie4_5_moe",
    "minimax_m2",
)
MANY = dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 240)
WRITTEN = 30_000.0


class Found(NamedTuple):
    """What one store of one random model gives."""

    n_experts: int
    forming: bool
    flagged: tuple[str, ...]  # by the defaults
    paper: tuple[str, ...]  # by the paper's rule with the guard
    unguarded: int  # by the paper's rule alone


def null(seed: int, folder: Path) -> tuple[Found, Found]:
    """The model of `seed` as it is, and with a massive activation that none of its experts writes."""
    torch.manual_seed(seed)
    family, many = FAMILIES[seed % len(FAMILIES)], seed // len(FAMILIES) % 2
    model = load(tiny_model(family, seed=seed, **(MANY if many else {})), tiny_tokenizer(), check=False)
    texts = ["".join(chr(c) for c in torch.randint(97, 123, (24,)).tolist()) for _ in range(6)]
    plain = _found(_captured(model, texts, folder / "plain"))
    with written(model, int(torch.randint(model.anatomy.moe_layers[0], len(model.anatomy.layers), ()))):
        return plain, _found(_captured(model, texts, folder / "written"))


@contextmanager
def written(model: MoEModel, layer: int) -> Iterator[None]:
    """`layer` adds WRITTEN to a channel of the first token, beside what its experts write."""

    def add(module: Any, given: Any, out: Any) -> Any:
        state = (out[0] if isinstance(out, tuple) else out).clone()
        state[:, 0, 3] += WRITTEN
        return (state, *out[1:]) if isinstance(out, tuple) else state

    handle = model.hf.model.layers[layer].register_forward_hook(add)
    try:
        yield
    finally:
        handle.remove()


def _captured(model: MoEModel, texts: list[str], folder: Path) -> Store:
    prompts = [{"text": text} for text in texts]
    return capture(model, prompts, folder, keep={"norms", "residual"}, progress=False)


def _found(store: Store) -> Found:
    default, paper = super_experts(store), super_experts(store, "paper")
    alone = super_experts(store, "paper", guard=False)
    names = [tuple(str(x) for x in found.flagged("super expert")) for found in (default, paper, alone)]
    return Found(len(default.frame), "no layer" not in default.notes[0], names[0], names[1], len(names[2]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0-199", help="FIRST-LAST")
    first, last = map(int, parser.parse_args().seeds.split("-"))
    arms: dict[str, list[tuple[int, Found]]] = {"as it is": [], "a massive activation written by no expert": []}
    for seed in range(first, last + 1):
        with tempfile.TemporaryDirectory() as folder:
            for arm, found in zip(arms.values(), null(seed, Path(folder)), strict=True):
                arm.append((seed, found))
    for name, arm in arms.items():
        _say(name, arm)


def _say(name: str, arm: list[tuple[int, Found]]) -> None:
    n_many = sum(found.n_experts >= 400 for _, found in arm)
    families = Counter(FAMILIES[seed % len(FAMILIES)] for seed, _ in arm)
    print(
        f"{name}: {len(arm)} models (seeds {arm[0][0]} to {arm[-1][0]}), {len(families)} families, {n_many} with 400 or more"
    )
    print(f"  with a layer that forms a massive activation: {sum(found.forming for _, found in arm)}")
    print(f"  flagged by default: {[(seed, found.flagged) for seed, found in arm if found.flagged] or 'none'}")
    print(f"  by the paper's rule with the guard: {[(s, found.paper) for s, found in arm if found.paper] or 'none'}")
    print(f"  by the paper's rule alone: {sum(found.unguarded for _, found in arm)} experts")


if __name__ == "__main__":
    main()
