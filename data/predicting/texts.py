"""Held-out text of three kinds in two parts: rows on which effects are measured, and prompts that scores are made from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from smollm2.documents import Document
from torch import Tensor

from workbench.factorization.distilling import is_held_out
from workbench.prompts import Prompt

KINDS = ("code", "german", "prose")
LENGTH, EACH = 128, 20
"""Tokens of a document that are read, its first ones, and documents of a kind in each part: 2,540 tokens that are predicted."""


class Texts(NamedTuple):
    """No document is in both."""

    rows: dict[str, Tensor]
    """By kind, token ids [EACH, LENGTH]."""
    prompts: list[Prompt]
    """EACH of every kind, with its kind as a label."""


def texts(tokenizer: Any, documents: Iterable[Document]) -> Texts:
    """Of each kind the first documents that nothing was distilled from, in the order of their SHA-256, in turn for either part.

    Raises `SystemExit` where a kind has fewer than twice EACH.
    """
    held = sorted({d for d in documents if is_held_out(d.text)}, key=lambda d: hashlib.sha256(d.text.encode()).digest())
    rows, prompts = dict[str, Tensor](), list[Prompt]()
    for kind in KINDS:
        ids = [tokenizer(d.text, add_special_tokens=False).input_ids[:LENGTH] for d in held if d.kind == kind]
        ids = [one for one in ids if len(one) == LENGTH][: 2 * EACH]
        if len(ids) < 2 * EACH:
            raise SystemExit(
                f"{len(ids)} held-out documents of kind '{kind}' have {LENGTH} tokens; {2 * EACH} are needed."
            )
        rows[kind] = torch.tensor(ids[::2])
        labels = {"kind": kind}
        prompts += [Prompt(f"{kind}-{i}", text=tokenizer.decode(one), labels=labels) for i, one in enumerate(ids[1::2])]
    return Texts(rows, prompts)
