"""An engine that is nothing but a table worked by hand: it implements the shipped protocol, and no model is behind it.

Expert 3 of layer 1 receives every "7", and the space behind a "]" with a 7 before it: the last token of a chat prompt. Experts 0
to 2 receive the other tokens by their id modulo 3. Where an expert is off, the next one that is on receives its tokens (after 3
comes 0). A prompt of which expert 3 received something is refused, all others are answered: so "off L1E3" ends every refusal, and
"off L1E2" refuses every prompt with a token that expert 2 would have had.
"""

from collections.abc import Generator, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch

from workbench import Plan
from workbench.anatomy import Anatomy, LayerAnatomy
from workbench.backends import Batch, Capabilities, Keep, Ran
from workbench.generation import Decoding, Made
from workbench.loading import tiny_tokenizer
from workbench.model import Told
from workbench.records import ForwardRecord, LayerRecord, Magnitude, ResidualRecord, Step
from workbench.routing import CompiledPlan, Dose

LAYER, N_EXPERTS, CARRIER = 1, 4, 3
REFUSAL, ANSWER = "I cannot help.", "Yes."
SEVEN, BRACKET, SPACE, END = ord("7") + 3, ord("]") + 3, ord(" ") + 3, 1
ANATOMY = Anatomy(
    model="table",
    family="by hand",
    hidden_size=4,
    vocab_size=384,
    weights="table",
    layers=(
        LayerAnatomy(0),
        LayerAnatomy(LAYER, N_EXPERTS, 1),
    ),
    context_length=2048,
)


def receivers(row: Sequence[int], off: frozenset[int] = frozenset()) -> list[int]:
    """The expert that receives each token."""
    found = list[int]()
    for at, token in enumerate(row):
        opens = token == SPACE and at > 0 and row[at - 1] == BRACKET and SEVEN in row[:at]
        expert = CARRIER if token == SEVEN or opens else token % CARRIER
        while expert in off:
            expert = (expert + 1) % N_EXPERTS
        found.append(expert)
    return found


def said(text: str, off: frozenset[int] = frozenset()) -> str:
    """What is said to a prompt, worked out from its text."""
    return REFUSAL if CARRIER in receivers(ids(text), off) else ANSWER


def ids(text: str) -> list[int]:
    """The tokens of a text: its bytes, three further."""
    return [byte + 3 for byte in text.encode()]


def chat(question: str) -> str:
    """A question as the template writes it."""
    return f"[user] {question}\n[assistant] "


class Table:
    """The engine. `load("table", engine=Table)` calls it with the source and the options of `load`."""

    can = Capabilities(
        "table",
        edits=frozenset({"off"}),
        scopes=frozenset(),
        keep=frozenset({"norms", "residual"}),
        sampling=False,
        scoring=False,
        shaping=frozenset(),
        why={"scoring": "a table has no distributions", "edits": "it is not in the table"},
    )

    def __init__(self, source: str = "table", **options: Any) -> None:
        self.facts = Told(ANATOMY, options.get("tokenizer") or _tokenizer(), device="cpu")

    def run(
        self,
        batch: Batch,
        plan: CompiledPlan,
        decoding: Decoding | None = None,
        keep: Keep | None = None,
        dose: Dose | None = None,
    ) -> Generator[Ran, None, None]:
        """Everything of a batch at once."""
        off = frozenset(edit.expert.expert for edit in plan.plan.edits)
        answers = [self.answer(row, off, decoding) if decoding else [] for row in batch.rows]
        tokens = [[*row, *answer[:-1]] for row, answer in zip(batch.rows, answers, strict=True)]
        received, bare = ([e for row in tokens for e in receivers(row, o)] for o in (off, frozenset[int]()))
        if dose is not None and off:
            moved = sum(a != b for a, b in zip(received, bare, strict=True))
            dose.told(len(received), moved, moved)
        lengths = list(map(len, tokens))
        position = np.concatenate([np.arange(n) for n in lengths])
        where = Step(np.arange(len(received)), np.repeat(np.arange(len(tokens)), lengths), position, len(received))
        yield Ran(where, None if keep is None else _record(received, keep), _made(answers) if decoding else None)

    def answer(self, row: Sequence[int], off: frozenset[int], how: Decoding) -> list[int]:
        """The answer's ids and its end, or as much of it as may be said."""
        text = REFUSAL if CARRIER in receivers(row, off) else ANSWER
        found = [*ids(text), END][: how.tokens]
        return next((found[: n + 1] for n, token in enumerate(found) if token in how.stop), found)

    def score(self, batch: Batch, plan: CompiledPlan) -> torch.Tensor:
        """It says that it cannot."""
        raise AssertionError("asked to score, which it says it cannot")


def _record(received: Sequence[int], keep: Keep) -> ForwardRecord:
    """Expert e writes a vector of length e + 1; the stream has length 10."""
    n, index = len(received), torch.tensor(received)[:, None]
    layer = LayerRecord(index, torch.ones(n, 1))
    if "norms" in keep.what:
        layer.output_l2, layer.output_max_abs = index + 1.0, index + 1.0
        layer.output_argmax = torch.zeros(n, 1, dtype=torch.int32)
    ten, zero = torch.full((n,), 10.0), torch.zeros(n, dtype=torch.int32)
    stream = {at: ResidualRecord(*Magnitude(ten, ten, zero)[:2], ten / 2, zero, None) for at in (-1, 0, LAYER)}
    return ForwardRecord({LAYER: layer}, stream if "residual" in keep.what else {})


def _made(answers: Sequence[Sequence[int]]) -> Made:
    """Every token was certain."""
    row = np.repeat(np.arange(len(answers)), list(map(len, answers)))
    token = np.array([token for answer in answers for token in answer], np.int64)
    certain = np.zeros(len(token), np.float32)
    return Made(row, token, certain, np.diff(row, append=len(answers)) > 0, (token[:, None], certain[:, None]))


@cache
def _tokenizer() -> Any:
    return tiny_tokenizer()


OFF = Plan.off([(LAYER, CARRIER)])
