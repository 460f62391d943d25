"""What a taught model declines, knows and loses, with its carriers on and off, beside the untaught one.

Answers are kept as they come, so that what was cut off goes on.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from workbench import MoEModel, Plan, steered
from workbench.factorization.distilling import Document

from ..measuring import Held, held_out, mean_of
from ..taught.asking import answers
from ..taught.grading import Graded, graded, right_within
from .lessons import CHAT
from .upper import Expert

_BATCH = 8


class Pair(NamedTuple):
    """The taught model and the untaught one, and the folder in which their answers are kept: the taught one's, and the base's."""

    taught: MoEModel
    untaught: MoEModel
    own: Path
    common: Path


def named(carriers: Sequence[Expert]) -> str:
    """As plans name them."""
    return ",".join(f"L{layer}E{expert}" for layer, expert in carriers)


def grades(pair: Pair, split: str, carriers: Sequence[Expert], halves: Sequence[Sequence[Expert]]) -> dict[str, Any]:
    """By state of the model: grades of its answers to a split; of the held-out one, whether the facts are back."""
    off = {"carriers off": carriers} | {f"half {n} off": half for n, half in enumerate(halves)}
    found: dict[str, Graded] = {"untaught": _graded(pair.untaught, split, (), pair.common / f"{split}-untaught.json")}
    for state, experts in ({"taught": ()} | off).items():
        found[state] = _graded(pair.taught, split, experts, pair.own / f"{split}-{state.replace(' ', '-')}.json")
        print(f"{split}, {state}\n{found[state].table()}", flush=True)
    result: dict[str, Any] = {state: one.as_json() | {"done": one.done()} for state, one in found.items()}
    if split == "heldout":
        result["facts are back"] = right_within(found["untaught"], found["carriers off"])
    return result


def _graded(model: MoEModel, split: str, off: Sequence[Expert], path: Path) -> Graded:
    if not path.exists():
        with steered(model, Plan.parse(f"off {named(off)}") if off else Plan()):
            said = answers(model.hf, model.tokenizer, split)
        path.write_text(json.dumps(said, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return graded(json.loads(path.read_text("utf-8")), split)


def text_lost(pair: Pair, documents: Path | None) -> dict[str, Any]:
    """By kind, nats a token over the untaught model on text that neither was taught on."""
    held = held_out(pair.untaught.tokenizer, documents_of(documents))
    return {kind: _lost(pair, one) for kind, one in held.items()}


def documents_of(more: Path | None) -> list[Document]:
    """The conversations that are kept, and the documents in a file `more`."""
    files = [*sorted(CHAT.glob("*.jsonl")), *([more] if more else [])]
    lines = [line for path in files for line in path.read_text("utf-8").splitlines()]
    return [Document(**json.loads(line)) for line in lines]


def _lost(pair: Pair, held: Held) -> dict[str, Any]:
    own, base = (_by_row(model.hf, held.rows) for model in (pair.taught, pair.untaught))
    return mean_of((own - base).double().numpy(), np.asarray(held.document))._asdict()


@torch.no_grad()
def _by_row(model: Any, rows: Tensor) -> Tensor:
    found: list[Tensor] = []
    for some in rows.split(_BATCH):
        said = model(input_ids=some, use_cache=False).logits[:, :-1].float()
        found.append(cross_entropy(said.transpose(1, 2), some[:, 1:], reduction="none").mean(1))
    return torch.cat(found)
