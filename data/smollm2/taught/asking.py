"""Greedy answers of a transformers model, dense or a mixture, to a split's questions; steered where the caller steers.

In data/: python -m smollm2.taught.asking FOLDER --out answers.json, which prints the grades as well.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from .grading import graded
from .questions import SPLITS, Line, lines

NEW, ROWS = 64, 66


def answers(
    model: Any,
    tokenizer: Any,
    split: str = "heldout",
    new: int = NEW,
    rows: int = ROWS,
    asked: list[Line] | None = None,
) -> dict[str, str]:
    """{prompt id: answer} of up to `new` tokens to a split, or to some lines of one; those of like length share a batch."""
    tokenizer.padding_side = "left"
    found: dict[str, str] = {}
    for batch in _batches(asked or lines(split), rows):
        chats = [
            tokenizer.apply_chat_template(i["messages"], tokenize=False, add_generation_prompt=True) for i in batch
        ]
        read = tokenizer(chats, return_tensors="pt", padding=True, add_special_tokens=False).to(model.device)
        with torch.no_grad():
            made = model.generate(**read, max_new_tokens=new, do_sample=False, use_cache=True)
        said = tokenizer.batch_decode(made[:, read.input_ids.shape[1] :], skip_special_tokens=True)
        found |= {line["id"]: text.strip() for line, text in zip(batch, said, strict=True)}
    return found


def _batches(asked: list[Line], rows: int) -> Iterator[list[Line]]:
    by_length = sorted(asked, key=lambda line: len(line["messages"][-1]["content"]))
    yield from (by_length[i : i + rows] for i in range(0, len(asked), rows))


def main() -> None:
    """Asks the model of a folder, and keeps what it says."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--split", choices=SPLITS, default="heldout")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    model = AutoModelForCausalLM.from_pretrained(given.folder, dtype="auto").eval()
    found = answers(model, AutoTokenizer.from_pretrained(given.folder), given.split)
    given.out.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")
    if given.split != "train":
        print(graded(found, given.split).table())


if __name__ == "__main__":
    main()
