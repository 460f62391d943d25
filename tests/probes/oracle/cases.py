"""Stores to compute by hand, and random ones: as rows of tables, which the methods and the brute force both read."""

import random
from typing import Any, NamedTuple

from tests.probes.oracle.memory import Rows, anatomy, memory_store
from workbench.anatomy import Anatomy
from workbench.store import Store

WORDS = ["what", " is", "it", "yes", "<think>", "hm", "</think>", " ", "no", ".", "so"]
SAID = [[], ["yes"], ["<think>", "hm", "</think>", " ", "no", "."], ["</think>", "so", "<think>"]]
MARKERS = {"<think>": 1, "</think>": -1}


class Case(NamedTuple):
    rows: Rows
    anatomy: Anatomy

    @property
    def store(self) -> Store:
        """Without norms' table of residuals, so that flagging super experts ends at once."""
        return memory_store(self.anatomy, {name: found for name, found in self.rows.items() if name != "residual"})

    @property
    def full_store(self) -> Store:
        return memory_store(self.anatomy, self.rows)

    @property
    def experts(self) -> dict[int, int]:
        """MoE layer to number of experts."""
        return {x.layer: x.n_experts for x in self.anatomy.layers if x.is_moe}


def empty() -> dict[str, list[dict[str, Any]]]:
    return {name: [] for name in ("prompts", "labels", "tokens", "slots", "residual")}


# Four prompts, two MoE layers (1 and 2; layer 0 is dense), top-2. Slots are not in order of weight.
# Layer 1 has experts 0-2; layer 2 has experts 0-4, and nobody selects its expert 4.
# The last token of each response was generated and never computed: it has no slots.
GOLDEN_PROMPT = {
    "a": [((0, 1), (0, 3)), ((2, 0), (3, 0))],
    "b": [((1, 2), (1, 2)), ((2, 1), (0, 1)), ((0, 1), (2, 3))],
    "c": [((1, 0), (3, 0))],
    "d": [((0, 2), (1, 2)), ((1, 0), (3, 1))],
}
GOLDEN_ANSWER = {"a": ((1, 2), (1, 2)), "b": ((0, 2), (0, 3)), "c": ((0, 2), (1, 2)), "d": ((2, 1), (0, 1))}
GOLDEN_LABEL = {"a": "refused", "b": "answered", "c": "refused", "d": "answered"}
GOLDEN_PAIR = {"a": "x", "b": "x", "c": "y", "d": "y"}


def golden() -> Case:
    rows = empty()
    for prompt, routes in GOLDEN_PROMPT.items():
        n = len(routes)
        rows["prompts"].append({"prompt_id": prompt, "text": prompt, "pair": GOLDEN_PAIR[prompt], "n_tokens": n})
        rows["labels"].append(label(prompt, GOLDEN_LABEL[prompt]))
        for position, text in enumerate([*["what", "is", "it"][:n], "<think>", "end"]):
            key = {"prompt_id": prompt, "sample": 0, "position": position}
            role = "user" if position < n else "think" if position == n else "assistant"
            about = {"token_id": len(text), "token": text, "role": role, "generated": position >= n}
            rows["tokens"].append({**key, **about})
            if position > n:
                continue
            for layer, chosen in zip((1, 2), [*routes, GOLDEN_ANSWER[prompt]][position], strict=True):
                for slot, expert in enumerate(chosen):
                    about = {"layer": layer, "slot": slot, "expert": expert, "weight": (0.25, 0.75)[slot]}
                    rows["slots"].append({**key, **about})
    return Case(rows, anatomy((0, 3, 5), 2))


MEDIANS = (0.0625, 0.125, 0.25, 1.0)  # what float32 holds; the largest is no ordinary one


def random_case(seed: int, n_prompts: int = 6, top_k: int = 2, n_shared: int = 1, samples: int = 1) -> Case:
    """Routing, lengths, roles, labels, norms and residuals at random; some prompts lack a pair or a label."""
    rng, rows = random.Random(seed), empty()
    sizes = (0, *(rng.randint(top_k, top_k + 3) for _ in range(2)))
    per_sample = samples > 1 and rng.random() < 0.5
    for number in range(n_prompts):
        prompt, n = f"p{number}", rng.randint(1, 4)
        pair = f"pair{number // 2}" if rng.random() < 0.8 else None
        rows["prompts"].append({"prompt_id": prompt, "text": "?", "pair": pair, "n_tokens": n})
        for sample in range(samples) if per_sample else [None]:
            if rng.random() < 0.9:
                rows["labels"].append(label(prompt, rng.choice(["refused", "answered", "other"]), sample))
        words = [rng.choice(["what", " is", "it"]) for _ in range(n)]
        for sample in range(samples):
            key = {"prompt_id": prompt, "sample": sample}
            _add_sequence(rows, rng, key, (words, rng.choice(SAID)), sizes, top_k, n_shared)
    return Case(rows, anatomy(sizes, top_k, n_shared))


def label(prompt: str, value: str, sample: int | None = None, name: str = "verdict") -> dict[str, Any]:
    return {"prompt_id": prompt, "sample": sample, "name": name, "value": value, "source": "given"}


def _add_sequence(rows, rng, key, texts, sizes, top_k, n_shared):
    words, said = texts
    for position, text in enumerate(words + said):
        key = {**key, "position": position}
        generated = position >= len(words)
        role = _response_role(text) if generated else "template" if position == 0 and len(words) > 1 else "user"
        rows["tokens"].append(
            {**key, "token_id": WORDS.index(text), "token": text, "role": role, "generated": generated}
        )
        if generated and position == len(words + said) - 1:
            continue  # the last generated token is never computed
        for layer in range(-1, len(sizes)):
            size = 10 ** rng.uniform(1, 3)
            rows["residual"].append(
                {**key, "layer": layer, "l2": size, "max_abs": size, "median_abs": rng.choice(MEDIANS)}
            )
        for layer, n_experts in enumerate(sizes):
            chosen = rng.sample(range(n_experts), top_k if n_experts else 0)
            shared = [(-1 - s, -1 - s) for s in range(n_shared if n_experts else 0)]
            for slot, expert in [*enumerate(chosen), *shared]:
                a, weight = float(int(10 ** rng.uniform(0, 3))), rng.randint(1, 8) / 8
                # of no draw, so that what was drawn before stays what it was
                norm = float(1 + (3 * position + 5 * expert + 2 * layer) % 7)
                about = {"slot": slot, "expert": expert, "weight": weight, "output_max_abs": a, "output_l2": norm}
                rows["slots"].append({**key, "layer": layer, **about})


def _response_role(text: str) -> str:
    return "think" if "think" in text or text == "hm" else "assistant"
