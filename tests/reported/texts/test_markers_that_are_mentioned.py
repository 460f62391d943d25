"""A `<think>` that somebody mentions opens no thought."""

from typing import Any

import pytest

from probes.reading import find_marker, select
from tests.probes.oracle.cases import empty
from tests.probes.oracle.memory import anatomy, memory_store
from tests.workbench.prompts.test_roles import SHOUTS, THINKS_AT_ONCE, fast
from workbench import WorkbenchError, capture, load, read_prompts
from workbench.loading import tiny_tokenizer
from workbench.prompts import encode
from workbench.thinking import opened_in

ASKED = {"role": "user", "content": "what happened in 1957 in Banke?"}
MENTION = {"role": "system", "content": "Open every thought with <think>"}
CHATS = {
    "plain": [ASKED],
    "system": [MENTION, ASKED],
    "user": [{"role": "user", "content": "<think> is what? what happened in 1957 in Banke?"}],
    "end": [{"role": "user", "content": "what happened in 1957 in Banke? <think>"}],
    "earlier": [{"role": "user", "content": "say <think>"}, {"role": "assistant", "content": "no."}, ASKED],
}


def starts(tokenizer: Any, *chats: Any) -> list[bool]:
    rows = [{"text": chat} if isinstance(chat, str) else {"messages": chat} for chat in chats]
    return [found.starts_thinking for found in encode(tokenizer, read_prompts(rows))]


def test_no_thought_where_it_is_only_mentioned(tmp_path):
    rows = [{"id": name, "messages": chat} for name, chat in CHATS.items()]
    store = capture(load("demo"), rows, tmp_path / "s", generate=16, progress=False)
    said: Any = store.tokens[store.tokens["generated"]]
    assert {p: set(g["role"]) for p, g in said.groupby("prompt_id", observed=True)} == {
        name: {"assistant", "special"} for name in CHATS
    }
    first = select(store, "first_answer")
    assert store.tokens[first]["prompt_id"].tolist() == list(CHATS)
    assert (first == select(store, "last_prompt")).all()  # nothing was thought: the prompt's end decides


@pytest.mark.parametrize(
    "tokenizer", [fast(), tiny_tokenizer(), fast(SHOUTS)], ids=["turns", "plain turns", "rewrites"]
)
def test_whatever_the_template(tokenizer):
    assert starts(tokenizer, *CHATS.values()) == [False] * len(CHATS)


def test_a_mention_hides_no_thought_that_the_template_opens():
    assert starts(fast(THINKS_AT_ONCE), *CHATS.values()) == [True] * len(CHATS)


@pytest.mark.parametrize(
    ("text", "marker"),
    [
        ("Open every thought with <think>\nUser: 1 + 1?\nAssistant:", ""),
        ("<think> opens a thought.\nUser: 1 + 1?\nAssistant:", ""),
        ("The tag <think> is old.", ""),
        ("<|user|>[THINK] is a tag<|assistant|>", ""),
        ("Say `<think>`", ""),
        ("Say <think>. 1 + 1? <think>", "<think>"),
        ("Q: 1 + 1?\nA: <think>one and", "<think>"),
    ],
)
def test_a_text_that_mentions_or_opens(text, marker):
    assert opened_in(text) == marker
    assert starts(fast(None), text) == [bool(marker)]


def sequence(rows: Any, prompt: str, tokens: list[tuple[str, str]], n_prompt: int) -> None:
    rows["prompts"].append({"prompt_id": prompt, "text": None, "n_tokens": n_prompt})
    for position, (token, role) in enumerate(tokens):
        key = {"prompt_id": prompt, "sample": 0, "position": position, "generated": position >= n_prompt}
        rows["tokens"].append({**key, "token_id": len(token), "token": token, "role": role})


def test_markers_that_are_mentioned_are_no_occurrences():
    rows = empty()
    turn = [("<s>", "special"), ("with ", "system"), ("<think>", "special"), ("<u>", "special"), ("hi", "user")]
    sequence(rows, "mention", [*turn, ("<a>", "special"), ("no", "assistant")], 6)
    sequence(rows, "opens", [*turn, ("<a>", "special"), ("<think>", "special"), ("no", "think")], 7)
    sequence(rows, "says", [*turn, ("<a>", "special"), ("<think>", "special"), ("no", "think")], 6)
    sequence(rows, "straight", [("hi", "user"), ("<think>", "special"), ("no", "think")], 2)
    store = memory_store(anatomy((2,), 1), rows)
    every = select(store, "all")
    found: Any = store.tokens[find_marker(store, "<think>", every, mentioned=False)]
    assert list(zip(found["prompt_id"], found["position"], strict=True)) == [("opens", 6), ("says", 6), ("straight", 1)]
    assert find_marker(store, "<think>", every).sum() == 6  # as a token it stands there all the same
    with pytest.raises(WorkbenchError, match="is at none of"):
        find_marker(store, "<think>", every & (store.tokens["prompt_id"] == "mention").to_numpy(), mentioned=False)


def test_a_marker_may_share_tokens_with_what_is_around_it():
    rows = empty()
    pieces = ["ask", ".<", "think", ">\n", "hm", "</", "think", ">\n\n", "yes"]
    sequence(rows, "p", [(piece, "assistant" if i else "user") for i, piece in enumerate(pieces)], 1)
    store = memory_store(anatomy((2,), 1), rows)
    every = select(store, "all")
    assert find_marker(store, "<think>", every).nonzero()[0].tolist() == [3]
    assert find_marker(store, "</think>", every).nonzero()[0].tolist() == [7]
    with pytest.raises(WorkbenchError, match="is at none of"):
        find_marker(store, "hin", every)  # a word inside a word is not that word
