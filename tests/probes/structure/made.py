"""Stores whose tokens take paths of a test's choice."""

from collections.abc import Sequence

from tests.probes.oracle.cases import Case, empty
from tests.probes.oracle.memory import anatomy

Path = Sequence[Sequence[int]]
"""A token's experts in each layer."""


def routed(prompts: Sequence[Sequence[Path]], n_experts: Sequence[int]) -> Case:
    """One MoE layer for each entry of n_experts (0 is a dense one, for which paths say nothing), a path for each token."""
    rows = empty()
    layers = [layer for layer, n in enumerate(n_experts) if n]
    for number, paths in enumerate(prompts):
        rows["prompts"].append({"prompt_id": f"p{number}", "text": "?", "n_tokens": len(paths)})
        for position, path in enumerate(paths):
            key = {"prompt_id": f"p{number}", "sample": 0, "position": position}
            rows["tokens"].append({**key, "token_id": 0, "token": "x", "role": "user", "generated": False})
            for layer, experts in zip(layers, path, strict=True):
                for slot, expert in enumerate(experts):
                    about = {"layer": layer, "slot": slot, "expert": expert, "weight": 0.5, "output_l2": 1.0}
                    rows["slots"].append({**key, **about})
    return Case(rows, anatomy(n_experts, max(len(experts) for paths in prompts for path in paths for experts in path)))
