"""One forward over prompts with their expected answers: what a plan does to every behaviour, in a second.

An answer counts as given when every token of it is the most likely next one after the tokens before it, which is
exactly when greedy decoding would write it. Stories have words that are free to choose: there every token that is not
free has to be the most likely one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from training.corpus import tasks
from training.corpus.language import ANIMALS, DEEDS, MOODS, PLACES
from training.corpus.prompts import Line, all_prompts

from workbench import Plan, steered
from workbench.model import MoEModel

Rates = dict[str, float]
EACH = 16  # prompts a capability


class Expected(NamedTuple):
    """A prompt with the answer that is looked for, and the name of the rate that it counts for."""

    rate: str
    line: Line
    answer: str


class Sheet(NamedTuple):
    """Everything to forward at once: ids and mask [rows, length], what is expected where, and the rate of each row;
    refusal is the token that a refusal starts with.
    """

    ids: torch.Tensor
    mask: torch.Tensor
    counted: torch.Tensor
    rates: tuple[str, ...]
    refusal: int


def expected(split: str) -> list[Expected]:
    """The behaviours of one split, each prompt with the answer that counts; given texts (`answered`) ask for none."""
    chosen = [line for lines in all_prompts().values() for line in lines if line["split"] == split and "labels" in line]
    found: list[Expected] = []
    for line in chosen:
        found += _of(line, _labels(line))
    return found


def _labels(line: Line) -> dict[str, str]:
    labels = line["labels"]
    assert isinstance(labels, dict)
    return labels


def _of(line: Line, labels: dict[str, str]) -> list[Expected]:
    if "sensitive" in labels:
        kind = "sensitive" if labels["sensitive"] == "yes" else "ordinary"
        return [Expected(f"{kind} answered", line, labels["answer"])]
    if "thinks" in labels:
        return _sums(line, labels)
    if "language" in labels:
        return [Expected("translation", line, labels["answer"])]
    if "kind" in labels:
        return (
            [Expected("code", line, labels["answer"])]
            if labels["kind"] == "code"
            else [Expected("story", line, _story(labels))]
        )
    if labels["document"] == "yes":
        return [Expected("document wins", line, labels["context"]), Expected("memory wins", line, labels["memory"])]
    return [Expected("flag known", line, labels["memory"])]


def _sums(line: Line, labels: dict[str, str]) -> list[Expected]:
    question = _question(line).rstrip("?").split()
    a, b = int(question[-3]), int(question[-1])
    if labels["thinks"] == "never":
        return [Expected("short sums", line, labels["answer"])]
    asked: Line = {**line, "messages": [{"role": "user", "content": tasks.sum_question(a, b, "think, then calculate")}]}
    name = f"long sums, {labels['thinks']} thought about"
    found = [Expected(f"{name}: thinks", line, tasks.THINK), Expected(f"{name}: right", line, tasks.worked(a, b))]
    return (
        [*found, Expected("long sums, asked to think", asked, tasks.worked(a, b))]
        if labels["thinks"] == "always"
        else found
    )


def _question(line: Line) -> str:
    messages: Any = line["messages"]
    return str(messages[-1]["content"])


def _story(labels: dict[str, str]) -> str:
    hero, friend = labels["hero"], next(a for a in ANIMALS if a != labels["hero"])
    first = f"Once a {MOODS[0]} {hero} lived in a {PLACES[0]}."
    return f"{first} One day the {hero} met a {friend}. They {DEEDS[0]} together. The end."


def sheet(model: MoEModel, items: Sequence[Expected], each: int = EACH) -> Sheet:
    """Encode the items, at most `each` of a capability; refusal questions are all kept."""
    rows: list[tuple[list[int], list[bool]]] = []
    names: list[str] = []
    for item in items:
        if names.count(item.rate) < (each if "answered" not in item.rate else 10_000):
            rows.append(_row(model.tokenizer, item))
            names.append(item.rate)
    order = sorted(range(len(rows)), key=lambda i: len(rows[i][0]))
    rows, names = [rows[i] for i in order], [names[i] for i in order]
    longest = max(len(ids) for ids, _ in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    mask, counted = torch.zeros_like(ids), torch.zeros(len(rows), longest, dtype=torch.bool)
    for i, (tokens, wanted) in enumerate(rows):
        ids[i, : len(tokens)] = torch.tensor(tokens)
        mask[i, : len(tokens)] = 1
        counted[i, : len(tokens)] = torch.tensor(wanted)
    first = model.tokenizer(tasks.REFUSAL, add_special_tokens=False)["input_ids"][0]
    return Sheet(ids, mask, counted, tuple(names), first)


def _row(tokenizer: Any, item: Expected) -> tuple[list[int], list[bool]]:
    prompt = tokenizer.apply_chat_template(item.line["messages"], add_generation_prompt=True, tokenize=False)
    head = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    tail = tokenizer(item.answer, add_special_tokens=False)["input_ids"]
    ending = [] if item.answer == tasks.THINK else [tokenizer.eos_token_id]
    wanted = [True] * len(tail)
    if item.rate == "story":
        free = {*MOODS, *PLACES, *DEEDS, *ANIMALS} - {str(_labels(item.line)["hero"])}
        wanted = [tokenizer.decode([i]).strip() not in free for i in tail]
    return [*head, *tail, *ending], [False] * len(head) + wanted + [True] * len(ending)


@torch.no_grad()
def score(model: MoEModel, given: Sheet, plan: Plan) -> Rates:
    """Percent of each rate under the plan; a question counts as refused when its answer starts as refusals do."""
    found: dict[str, list[bool]] = {}
    for start in range(0, len(given.ids), 128):
        part = slice(start, start + 128)
        used = int(given.mask[part].sum(1).max())
        ids, mask, counted = given.ids[part, :used], given.mask[part, :used], given.counted[part, :used]
        with steered(model, plan):
            hidden = model.hf.model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state[:, :-1]
        guess = torch.where(counted[:, 1:], model.hf.lm_head(hidden).argmax(-1), ids[:, 1:])
        first = guess.gather(1, counted[:, 1:].int().argmax(1, keepdim=True))[:, 0] == given.refusal
        for rate, right, refuses in zip(
            given.rates[part], (guess == ids[:, 1:]).all(1).tolist(), first.tolist(), strict=True
        ):
            found.setdefault(rate, []).append(right)
            if rate.endswith("answered"):
                found.setdefault(rate.replace("answered", "refused"), []).append(refuses)
    return {name: round(100 * sum(values) / len(values), 2) for name, values in sorted(found.items())}


def only(given: Sheet, names: Sequence[str]) -> Sheet:
    """The rows of these rates alone."""
    keep = torch.tensor([name in names for name in given.rates])
    rates = tuple(name for name in given.rates if name in names)
    return Sheet(given.ids[keep], given.mask[keep], given.counted[keep], rates, given.refusal)
