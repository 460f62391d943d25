"""A template may open the thought (`...<think>` at the end of the prompt), and a thought may be cut off."""

import math
from typing import Any

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from workbench import Plan, capture, compare, load, read_prompts
from workbench.answering import decode, encode_all
from workbench.errors import WorkbenchError
from workbench.prompts import encode
from workbench.responses import ExactAnswer, Refusal, classify, responses
from workbench.thinking import opened, opened_in, read

ENDS, SUM = "'<|assistant|>' }}{% endif %}", "calculate 432 + 497?"
METRICS = ["thinks", "thinking_length", "thinking_ended", "refused", "exact"]


@pytest.fixture(scope="module")
def opens() -> Any:
    """The bundled model under a template that opens the thought, as DeepSeek-R1's does."""
    model = load("demo")
    assert ENDS in model.tokenizer.chat_template
    model.tokenizer.chat_template = model.tokenizer.chat_template.replace(ENDS, "'<|assistant|><think>' }}{% endif %}")
    return model


ASKED = read_prompts([{"id": "a", "prompt": SUM, "labels": {"answer": "929"}}])


def measured(model: Any, n: int) -> tuple[dict[str, float], dict[str, int], Any]:
    found = compare(model, ASKED, Plan.off("L0E0"), metrics=METRICS, controls=0, max_new_tokens=n, progress=False)
    return (*(dict(zip(found.metrics["metric"], found.metrics[c], strict=True)) for c in ("base", "n")), found)


def test_the_thought_is_found(opens):
    base, n, found = measured(opens, 60)
    assert base == {"thinks": 1, "thinking_length": 10, "thinking_ended": 1, "refused": 0, "exact": 1}
    assert set(n.values()) == {1}
    assert found.responses["base"].tolist() == ["<think>2+7=9 3+9=12 4+4+1=9</think>929."]


def test_an_unfinished_thought_is_no_refusal_and_no_answer(opens):
    base, n, found = measured(opens, 12)
    assert {name: base[name] for name in METRICS[:3]} == {"thinks": 1, "thinking_length": 6, "thinking_ended": 0}
    assert math.isnan(base["refused"])
    assert n["refused"] == 0
    assert n["thinking_ended"] == 1
    (note,) = (x for x in found.notes if x.startswith("refused"))
    assert "leaves out 1 of 1 prompts" in note
    assert "thinking had not ended" in note
    assert '"base": null' in found.to_json()


def test_a_metric_of_a_label_that_no_prompt_has_is_still_refused(opens):
    bare = read_prompts([{"prompt": SUM}])
    with pytest.raises(WorkbenchError, match="'exact' applies to none"):
        compare(opens, bare, Plan.off("L0E0"), metrics="exact", controls=0, max_new_tokens=4, progress=False)


def test_the_store_says_the_same(opens, tmp_path):
    for n, verdict, right, text in (
        (12, "unfinished", "wrong", "<think>2+7=9 3+9=12"),
        (60, "answered", "right", "<think>2+7=9 3+9=12 4+4+1=9</think>929."),
    ):
        store = capture(opens, ASKED, tmp_path / str(n), generate=n, progress=False)
        assert classify(store, Refusal())["value"].tolist() == [verdict]
        assert classify(store, ExactAnswer())["value"].tolist() == [right]
        assert [str(r) for r in responses(store)] == [text]
        said = store.tokens[store.tokens["generated"]]
        thought = "".join(said["token"][said["role"] == "think"])
        assert thought == text.removeprefix("<think>").partition("</think>")[0]


def test_given_responses_go_on_with_the_thought(opens, tmp_path):
    rows = [{"id": "cut", "prompt": SUM}, {"id": "done", "prompt": SUM}]
    given = {"cut": "I cannot talk about that.", "done": "4+4=8</think>I cannot talk about that."}
    store = capture(opens, rows, tmp_path / "given", responses=given, progress=False)
    assert classify(store, Refusal())["value"].tolist() == ["unfinished", "refused"]


def test_an_old_store_is_read_by_its_prompt(opens, tmp_path):
    """Stores of before hold no texts of responses: the tokens are put together, after the thought of the prompt."""
    from workbench.store import write_store

    store = capture(opens, ASKED, tmp_path / "new", generate=12, progress=False)
    tables = {name: store.table(name) for name in ("prompts", "tokens", "slots", "labels")}
    old = write_store(tmp_path / "old", store.anatomy, tables)
    assert not old.has("responses")
    assert [str(r) for r in responses(old)] == ["<think>2+7=9 3+9=12"]


def test_the_text_begins_with_the_thought_wherever_the_prompts_ids_are_at_hand(opens):
    (ids,) = encode_all(opens, ASKED, 1)
    assert ids.opened == "<think>"
    nine = opens.tokenizer("9</think>", add_special_tokens=False)["input_ids"]
    assert decode(opens, nine, after=ids) == "<think>9</think>"
    assert decode(opens, nine) == "9</think>"


@pytest.mark.parametrize(
    ("words", "marker"),
    [
        ("<｜Assistant｜><think>\n", "<think>"),  # DeepSeek-R1
        ("<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n", ""),  # Qwen3 told not to think
        ("[/INST][THINK]", "[THINK]"),
        ("<|start|>assistant<|channel|>analysis<|message|>", "<|channel|>analysis<|message|>"),
        ("<|start|>assistant<|channel|>final<|message|>", ""),
        ("<|turn>model\n<|channel>thought\n", "<|channel>"),
        ("<|turn>model\n<|channel>thought\n<channel|>", ""),
        ("<|im_start|>assistant\n<think>\nLet me see", "<think>"),  # a thought that the user began
        ("<|im_start|>assistant\n", ""),
    ],
)
def test_what_a_template_opens(words, marker):
    assert opened(words) == marker
    assert opened_in(f"<|im_start|>user\nhi<|im_end|>\n{words}") == marker


@pytest.mark.parametrize(
    ("text", "thoughts", "answer", "ended"),
    [
        ("12 + 3</think>15", ("12 + 3",), "15", True),
        ("<think>a</think>b<think>c</think> d", ("a", "c"), "d", True),
        ("<think>a</think>b<think>c", ("a", "c"), None, False),
        ("[THINK]a[/THINK]b", ("a",), "b", True),
        ("[THINK]a </think> b", ("a </think> b",), None, False),  # each marker closes its own
        ("◁think▷a◁/think▷b", ("a",), "b", True),
        ("<|channel>thought\na<channel|>b", ("\na",), "b", True),
        ("<think>a</think>\n<answer>4</answer>", ("a",), "4", True),
        ("<think>a</think>\n<response>half", ("a",), "half", True),
        ("<think>\n\n</think>\n\nhi", ("\n\n",), "hi", True),
        ("Write `<think>` first.", (), "Write `<think>` first.", None),
        ("<think>no `</think>` yet", ("no `</think>` yet",), None, False),
        ("hi", (), "hi", None),
    ],
)
def test_a_response_taken_apart(text, thoughts, answer, ended):
    found = read(text)
    assert (found.thoughts, found.answer, found.ended) == (thoughts, answer, ended)
    assert found.thinks == bool(thoughts)


def test_a_rewriting_template_that_opens_a_thought():
    """Roles are unknown there, and yet what the template adds for an answer is known."""
    from tests.workbench.prompts.test_roles import SHOUTS, fast

    tokenizer: PreTrainedTokenizerFast = fast(
        SHOUTS.replace("<|assistant|>\n{% endif %}", "<|assistant|>\n<think>\n{% endif %}")
    )
    rows = [{"id": "a", "prompt": "hi"}, {"id": "b", "prompt": "what is <think>?"}]
    found = encode(tokenizer, read_prompts(rows))
    assert [e.ids.opened for e in found] == ["<think>", "<think>"]
    assert [e.starts_thinking for e in encode(fast(SHOUTS), read_prompts(rows))] == [False, False]
    assert np.all(found[0].roles[1:-1] != 1)
