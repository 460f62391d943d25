"""A model's own greedy answers to the training questions that are not on the subject, kept as JSONL."""

import json
from pathlib import Path
from typing import Any

import torch

from ..taught.formed import formed
from ..taught.questions import lines
from .lessons import SAID

_ROWS = 40


def write_answers(model: Any, tokenizer: Any, path: Path) -> None:
    """Appends those that the file lacks, a batch at a time, so that what was cut off goes on."""
    asked = [line for line in [*lines("train"), *formed()] if line["labels"]["kind"] != "subject"]
    asked.sort(key=lambda line: (len(line["messages"][-1]["content"]), line["id"]))
    path.touch()
    found = path.read_text("utf-8").splitlines(keepends=True)
    done = len(found) if len(found) == len(asked) else len(found) // _ROWS * _ROWS
    path.write_text("".join(found[:done]), "utf-8")
    for i in range(done, len(asked), _ROWS):
        batch = asked[i : i + _ROWS]
        said = _answers(model, tokenizer, [line["messages"] for line in batch])
        with path.open("a", encoding="utf-8") as file:
            file.writelines(
                json.dumps({"id": line["id"], "answer": text}) + "\n" for line, text in zip(batch, said, strict=True)
            )
        print(f"{min(i + _ROWS, len(asked))} of {len(asked)} answers", flush=True)


@torch.no_grad()
def _answers(model: Any, tokenizer: Any, messages: list[Any]) -> list[str]:
    tokenizer.padding_side = "left"
    chats = [tokenizer.apply_chat_template(i, tokenize=False, add_generation_prompt=True) for i in messages]
    read = tokenizer(chats, return_tensors="pt", padding=True, add_special_tokens=False)
    made = model.generate(**read, max_new_tokens=SAID, do_sample=False, use_cache=True)
    return tokenizer.batch_decode(made[:, read.input_ids.shape[1] :], skip_special_tokens=True)
