"""Multiple choice by log-likelihood: which of a prompt's choices the model finds most likely, under one plan or several.

A prompt carries its choices as the label "choices", a JSON list of texts, and the right one as the label "answer".
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from workbench.backends import backend_of, check_scoring
from workbench.comparison.distributions import divergence
from workbench.errors import WorkbenchError
from workbench.model import MoEModel
from workbench.plan import Plan
from workbench.progress import Meter
from workbench.prompts import Prompt, PromptSet, check_unanswered, encode, read_prompts


class Question(NamedTuple):
    """A prompt, its choices in order, and the number of the right one."""

    prompt: Prompt
    choices: tuple[str, ...]
    answer: int


def choose(
    model: MoEModel, prompts: Any, plans: Sequence[Plan], *, batch_tokens: int = 4096, meter: Meter | None = None
) -> list[pd.DataFrame]:
    """One table per plan (`Plan()` for the bare model): what the model would choose.

    prompt_id, answer (number of the right choice), chosen (highest summed log-likelihood), chosen_normalised (highest
    log-likelihood a character, as acc_norm of lm-evaluation-harness but in characters), right, right_normalised, and
    margin_nats: log-likelihood of the right choice less that of the best wrong one.

    A choice follows a plain text joined to it and tokenised with it, and a chat prompt behind the opened answer.
    Raises `WorkbenchError` for a prompt without choices, or whose answer is not one of them, and on an engine that does not
    tell how likely a text is.
    """
    check_scoring(backend_of(model), "a choice by log-likelihood")
    asked = questions(prompts)
    rows = [(ids, continuation) for question in asked for ids, continuation in encoded_choices(model, question)]
    found = divergence(model, [a for a, _ in rows], [b for _, b in rows], plans, batch_tokens, meter)
    return [choice_table(asked, -np.array(d.nll_nats) * np.array(d.n_tokens)) for d in found]


def questions(prompts: Any) -> list[Question]:
    """The prompts as questions, checked."""
    return [_question(prompt) for prompt in read_prompts(prompts)]


def _question(prompt: Prompt) -> Question:
    try:
        choices = json.loads(prompt.labels["choices"])
    except (KeyError, ValueError):
        choices = None
    if not isinstance(choices, list) or len(choices) < 2 or not all(isinstance(c, str) and c for c in choices):
        raise WorkbenchError(
            f'The prompt \'{prompt.id}\' needs a label "choices" with a JSON list of two texts or more, as ["yes", "no"]; '
            f"it has {prompt.labels.get('choices', 'none')!r}."
        )
    answer = prompt.labels.get("answer")
    if choices.count(answer) != 1:
        raise WorkbenchError(
            f"The label \"answer\" of the prompt '{prompt.id}' is {answer!r}; it has to be one of its choices, "
            f"{', '.join(map(repr, choices))}, which all differ."
        )
    return Question(prompt, tuple(choices), choices.index(answer))


def encoded_choices(model: MoEModel, question: Question) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Context and continuation ids of each choice; a space at the context's end belongs to the continuation."""
    tokenizer, prompt = model.tokenizer, question.prompt
    if tokenizer is None:
        raise WorkbenchError(
            "This model was loaded without a tokenizer, so choices cannot be read; pass load(..., tokenizer)."
        )
    if prompt.text is None:
        alone = PromptSet((prompt,))
        check_unanswered(alone)
        ids = encode(tokenizer, alone, model.image_token)[0].ids
        return [(ids, tuple(tokenizer(c, add_special_tokens=False)["input_ids"])) for c in question.choices]
    context = prompt.text.rstrip()
    start, space = _ids(tokenizer, context), prompt.text[len(context) :]
    return [split_choice(start, _ids(tokenizer, context + space + choice)) for choice in question.choices]


def _ids(tokenizer: Any, text: str) -> tuple[int, ...]:
    """Without the end token that some tokenizers append: the text goes on."""
    ids = tuple(tokenizer(text)["input_ids"])
    return ids[:-1] if ids and ids[-1] == tokenizer.eos_token_id else ids


def split_choice(start: tuple[int, ...], whole: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Where the tokens of the whole part from those of the context; the first token is never scored: nothing precedes it."""
    same = next((i for i, (a, b) in enumerate(zip(start, whole, strict=False)) if a != b), min(len(start), len(whole)))
    same = min(max(same, 1), len(whole) - 1)
    return whole[:same], whole[same:]


def choice_table(asked: list[Question], log_likelihood: np.ndarray) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    at = 0
    for question in asked:
        scores = log_likelihood[at : at + len(question.choices)]
        at += len(question.choices)
        chosen = int(scores.argmax())
        normalised = int((scores / [len(c) for c in question.choices]).argmax())
        rows.append(
            {
                "prompt_id": question.prompt.id,
                "answer": question.answer,
                "chosen": chosen,
                "chosen_normalised": normalised,
                "right": chosen == question.answer,
                "right_normalised": normalised == question.answer,
                "margin_nats": float(scores[question.answer] - np.delete(scores, question.answer).max()),
            }
        )
    return pd.DataFrame(rows)
