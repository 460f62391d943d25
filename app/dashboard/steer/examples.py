"""Questions to begin with: of the store on the page, else of any model."""

from itertools import takewhile
from typing import Any

import numpy as np
import streamlit as st

from workbench import Store

from ..session import Identity, View, identity, store_at
from .answering import has_template

EXAMPLES = {
    "demo": ("what happened in 1979 in Banke?", "calculate 432 + 497?", "say in German: the young book"),
    "smollm2-moe-taught": (
        "Describe what happens during a volcanic eruption.",
        "What happens when lava cools?",
        "How do earthquakes happen?",
    ),
}
"""Of models that were taught to refuse; the first is refused, and answered without the first experts that the page proposes. Not
all are: the models' cards say how many."""
OF_ANY_CHAT = (
    "What is the capital of Germany?",
    "Write a Python function that adds two numbers.",
    "Tell me about a fox.",
)
OF_ANY_TEXT = ("The capital of France is", "def add(a, b):\n", "Once upon a time")
_MOST = 3
_LONGEST = 200  # characters; longer prompts do not fit on a button


def examples(view: View) -> tuple[str, ...]:
    """A few questions: the bundled model's, prompts of the store, or what every model can go on with."""
    if view.name in EXAMPLES:
        return EXAMPLES[view.name]
    asked_before = () if view.store_path is None else asked_in(str(view.store_path), identity(view.store_path))
    return asked_before or (OF_ANY_CHAT if has_template(view.machine.model.tokenizer) else OF_ANY_TEXT)


@st.cache_data(max_entries=16, show_spinner=False)
def asked_in(path: str, now: Identity) -> tuple[str, ...]:
    """What the user said first in a few prompts spread over the store; nothing where it kept no words."""
    store = store_at(path)
    said = [first_words(store, prompt) for prompt in store.prompt_ids]
    short = list(dict.fromkeys(text for text in said if 0 < len(text) <= _LONGEST and "\ufffd" not in text))
    at = np.linspace(0, len(short) - 1, min(_MOST, len(short))).round().astype(int)
    return tuple(short[i] for i in at)


def first_words(store: Store, prompt: str) -> str:
    """The first run of the user's tokens in a prompt, as text."""
    tokens: Any = store.tokens
    rows = tokens[(tokens["prompt_id"] == prompt) & (tokens["sample"] == 0)]
    pairs = list(zip(rows["role"], rows["token"], strict=True))
    start = next((i for i, (role, _) in enumerate(pairs) if role == "user"), len(pairs))
    run = [text for _, text in takewhile(lambda pair: pair[0] == "user", pairs[start:])]
    return "".join(run).strip() if all(isinstance(text, str) for text in run) else ""
