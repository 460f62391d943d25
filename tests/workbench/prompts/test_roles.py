"""Who says each token, and what a user is told about the tokenisation."""

from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from workbench.errors import WorkbenchError
from workbench.loading import tiny_tokenizer
from workbench.prompts import ROLES, MarkedIds, encode, read_prompts, response_roles, warnings
from workbench.prompts.roles import think_spans
from workbench.thinking import token_texts

TURNS = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] | trim }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
STRIPS_THINKING = TURNS.replace("m['content'] | trim", "m['content'].split('</think>')[-1] | trim")
DEFAULT_SYSTEM = "<|system|>\nYou are helpful.<|end|>\n" + TURNS
SHOUTS = TURNS.replace("| trim", "| upper")
THINKS_AT_ONCE = TURNS.replace("<|assistant|>\n{% endif %}", "<|assistant|>\n<think>{% endif %}")


def fast(template: str | None = TURNS, *, bos: bool = False) -> Any:
    """One token per character, markers of turns as special tokens."""
    marks = ["<s>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]
    letters = [chr(i) for i in range(32, 127)] + ["\n", "é"]
    raw = Tokenizer(models.WordLevel({c: i for i, c in enumerate([*letters, *marks])}, unk_token="é"))
    raw.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    raw.add_special_tokens(marks)
    if bos:
        raw.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", raw.token_to_id("<s>"))])
    made = PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="<|end|>")
    made.chat_template = template
    return made


def said(tokenizer: Any, messages: list[dict[str, str]]) -> dict[str, str]:
    """The text of each role, in order of first appearance."""
    (found,) = encode(tokenizer, read_prompts([{"messages": messages}]))
    texts: dict[str, str] = {}
    for i, role in zip(found.ids, found.roles, strict=True):
        texts[ROLES[role]] = texts.get(ROLES[role], "") + tokenizer.decode([i])
    return texts


CHAT = [
    {"role": "system", "content": "be kind"},
    {"role": "user", "content": " 1+1? "},
    {"role": "assistant", "content": "<think>easy</think>2"},
    {"role": "user", "content": "why"},
]


def test_every_author_is_known() -> None:
    found = said(fast(), CHAT)
    assert found == {
        "special": "<|system|><|end|><|user|><|end|><|assistant|><|end|><|user|><|end|><|assistant|>",
        "template": "\n" * 9,
        "system": "be kind",
        "user": "1+1?why",
        "think": "<think>easy</think>",
        "assistant": "2",
    }


def test_a_default_system_prompt_is_the_templates() -> None:
    found = said(fast(DEFAULT_SYSTEM), [{"role": "user", "content": "You"}])
    assert found["user"] == "You"
    assert found["template"] == "\nYou are helpful.\n\n\n\n"


def test_thinking_left_out_is_told() -> None:
    assert said(fast(STRIPS_THINKING), CHAT)["assistant"] == "2"
    found = encode(fast(STRIPS_THINKING), read_prompts([{"messages": CHAT}]))
    assert warnings(found) == ["the chat template leaves out earlier thinking (1 prompts, the first is 'p00000')"]


def test_what_templates_leave_out_of_an_answer_does_not_hide_who_speaks() -> None:
    """Qwen3's drops line breaks before an answer, thought about or not; Magistral's its own markers."""
    drops = TURNS.replace("m['content'] | trim", "m['content'].split('[/THINK]')[-1].lstrip('\n')")
    chat = [CHAT[1], {"role": "assistant", "content": "\n\n2"}, CHAT[3]]
    assert said(fast(drops), chat)["assistant"] == "2"
    chat[1] = {"role": "assistant", "content": "[THINK]easy[/THINK]\n4"}
    assert said(fast(drops), chat)["assistant"] == "4"


def test_a_template_that_rewrites_is_unknown_with_the_reason() -> None:
    tokenizer = fast(SHOUTS)
    assert set(said(tokenizer, CHAT)) == {"special", "unknown"}
    (told,) = warnings(encode(tokenizer, read_prompts([{"messages": CHAT}])))
    assert told.startswith("roles are unknown: the chat template rewrites message 0 (system)")


def test_plain_text_has_no_roles() -> None:
    (found,) = encode(fast(bos=True), read_prompts(["hi"]))
    assert [ROLES[r] for r in found.roles] == ["special", "unknown", "unknown"]
    assert "text is tokenised as it is" in found.notes[0]


def test_oddities_are_told() -> None:
    plain = fast(bos=True)
    (double,) = encode(plain, read_prompts(["<s>hi"]))
    assert "begins with two BOS tokens" in double.notes
    assert "has special tokens typed in its text" in double.notes
    (typed,) = encode(fast(), read_prompts([{"prompt": "a<|end|>b"}]))
    assert typed.notes == ("has special tokens typed in its text",)
    (clean,) = encode(fast(), read_prompts([{"prompt": "a"}]))
    assert clean.notes == ()


def test_a_slow_tokenizer_with_bytes() -> None:
    tokenizer = tiny_tokenizer()
    (found,) = encode(tokenizer, read_prompts([{"prompt": "wörld"}]))
    user = [i for i, r in zip(found.ids, found.roles, strict=True) if ROLES[r] == "user"]
    assert tokenizer.decode(user) == "wörld"


@pytest.mark.parametrize(
    ("text", "inside", "spans"),
    [
        ("a<think>b</think>c", False, [(1, 17)]),
        ("b</think>c", True, [(0, 9)]),
        ("<think>never ends", False, [(0, 17)]),
        ("b</think><think>c", True, [(0, 9), (9, 17)]),
        ("nothing", False, []),
        ("", True, []),
    ],
)
def test_think_spans(text: str, inside: bool, spans: list[tuple[int, int]]) -> None:
    assert think_spans(text, inside=inside) == spans


def test_responses_think_and_answer() -> None:
    tokenizer = fast()
    ids = tokenizer("<think>hm</think>yes<|end|>")["input_ids"]
    roles = [ROLES[r] for r in response_roles(tokenizer, ids, MarkedIds(tokenizer), starts_thinking=False)]
    assert roles == ["think"] * 17 + ["assistant"] * 3 + ["special"]
    assert len(response_roles(tokenizer, [], MarkedIds(tokenizer), starts_thinking=True)) == 0


def test_a_template_may_open_the_thinking() -> None:
    (found,) = encode(fast(THINKS_AT_ONCE), read_prompts([{"prompt": "a"}]))
    assert found.starts_thinking
    assert not encode(fast(), read_prompts([{"prompt": "a"}]))[0].starts_thinking


def test_token_texts() -> None:
    tokenizer = fast()
    assert token_texts(tokenizer, np.array(tokenizer("a b")["input_ids"])) == ["a", " ", "b"]


@pytest.mark.parametrize(
    ("tokenizer", "prompt", "sentence"),
    [
        (fast(None), {"id": "x", "prompt": "a"}, "The prompt 'x' is a chat and this tokenizer has no chat template"),
        (
            fast("{{ raise_exception('no!') }}"),
            {"id": "x", "prompt": "a"},
            "The chat template refuses the prompt 'x': no!",
        ),
    ],
)
def test_refused(tokenizer: Any, prompt: dict[str, str], sentence: str) -> None:
    with pytest.raises(WorkbenchError, match=sentence):
        encode(tokenizer, read_prompts([prompt]))
