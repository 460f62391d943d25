"""gpt-oss thinks in one channel and answers in another; what is judged is the final one."""

from types import SimpleNamespace
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from probes.reading import select
from workbench import capture, load
from workbench.answering import decode
from workbench.loading import tiny_model
from workbench.responses import (
    METRICS,
    ExactAnswer,
    Refusal,
    Response,
    classify,
    judge,
    refused,
    responses,
    revealed,
    thinks,
)
from workbench.thinking import read

MARKS = ["<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|return|>", "<|call|>", "<|constrain|>"]
THOUGHT = "<|channel|>analysis<|message|>Normally I cannot help with this, but it is allowed.<|end|><|start|>assistant"
FINAL = "<|channel|>final<|message|>Mix flour and water.<|return|>"
CALL = "<|channel|>commentary to=functions.bake <|constrain|>json<|message|>{}<|call|>"


def byte_level(special: list[str]) -> Any:
    tokens = Tokenizer(models.BPE())
    tokens.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokens.decoder = decoders.ByteLevel()
    letters = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=256 + len(special), special_tokens=special, initial_alphabet=letters)
    tokens.train_from_iterator(["x"], trainer)
    made = PreTrainedTokenizerFast(tokenizer_object=tokens, additional_special_tokens=special)
    made.pad_token = made.eos_token = special[-1]
    return made


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return byte_level([*MARKS, "<eos>"])


def decoded(tokenizer: Any, text: str) -> str:
    return decode(SimpleNamespace(tokenizer=tokenizer), tokenizer(text)["input_ids"])  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("text", "verdict", "thought", "answer"),
    [
        (THOUGHT + FINAL, "answered", True, "Mix flour and water."),
        ("<|channel|>analysis<|message|>The user wants", "unfinished", True, None),
        ("<|channel|>analysis", "unfinished", True, None),
        (THOUGHT, "unfinished", True, None),  # the thought is over and nothing is said yet
        (THOUGHT + CALL, "unfinished", True, None),
        (THOUGHT + "<|channel|>commentary<|message|>I cannot help; let me look.<|end|>", "unfinished", True, None),
        (THOUGHT + "<|channel|>final<|message|>", "unfinished", True, None),
        (THOUGHT + "<|channel|>final<|message|>I cannot help with that.", "refused", True, "I cannot help with that."),
        ("<|channel|>final<|message|>I cannot help with that.<|return|>", "refused", False, "I cannot help with that."),
        (THOUGHT + CALL + "<|start|>functions.bake to=assistant<|channel|>commentary<|message|>hot<|end|><|start|>assistant"
         + THOUGHT + FINAL, "answered", True, "Mix flour and water."),
        ("<|channel|>analysis<|message|>I cannot help<|channel|>final<|message|>Yes.", "answered", True, "Yes."),
        ("I cannot help with that.", "refused", False, "I cannot help with that."),
        ("gpt-oss writes <|channel|>analysis first.", "answered", False, "gpt-oss writes <|channel|>analysis first."),
    ],
)  # fmt: skip
def test_the_final_channel_is_judged(tokenizer, text, verdict, thought, answer):
    said = decoded(tokenizer, text)
    assert (Refusal()(said), thinks(Response(said)), read(said).answer) == (verdict, thought, answer)
    assert refused(Response(said)) is {"unfinished": None, "refused": True, "answered": False}[verdict]


def test_metrics_read_the_channel_that_they_mean(tokenizer):
    said = Response(decoded(tokenizer, THOUGHT + FINAL), labels={"answer": "mix flour and water"})
    assert ExactAnswer()(said) == "right"
    assert METRICS["thinking_length"](said) == 10
    assert METRICS["thinking_ended"](said) is True
    assert METRICS["thinking_ended"](Response(decoded(tokenizer, "<|channel|>analysis<|message|>a"))) is False
    only_thought = Response(decoded(tokenizer, "<|channel|>analysis<|message|>flour!"), labels={"answer": "flour"})
    assert revealed(only_thought) is False


def test_a_turn_end_that_is_no_channels_stays_hidden():
    """Other templates have a special <|end|> too: it is no part of what is said."""
    assert decoded(byte_level(["<|end|>", "<eos>"]), "Yes.<|end|>") == "Yes."


def test_the_store_knows_thought_call_and_answer(tokenizer, tmp_path):
    model = load(tiny_model("olmoe"), tokenizer)
    rows = [
        {"id": "answers", "text": "a", "response": THOUGHT + FINAL},
        {"id": "calls", "text": "a", "response": THOUGHT + CALL},
        {"id": "cut", "text": "a", "response": "<|channel|>analysis<|message|>The"},
    ]
    store = capture(model, rows, tmp_path / "s", responses=True, progress=False)
    assert classify(store, Refusal())["value"].tolist() == ["answered", "unfinished", "unfinished"]
    said: Any = store.tokens[store.tokens["position"] > 0]
    text = said.groupby(["prompt_id", "role"], observed=True)["token"].agg("".join)
    assert text["answers", "assistant"] == "Mix flour and water."
    assert text["answers", "think"] == "Normally I cannot help with this, but it is allowed."
    assert text["answers", "template"] == "analysisassistantfinal"
    assert text["calls", "tool"] == "{}"
    assert ("calls", "assistant") not in text.index
    first: Any = store.tokens[select(store, "first_answer")]
    assert first["prompt_id"].tolist() == ["answers"]
    after = store.tokens.iloc[first.index[0] + 1]
    assert (after["token"], after["role"]) == ("M", "assistant")
    assert next(iter(responses(store))).startswith("<|channel|>analysis<|message|>Normally")


def test_a_judge_reads_the_answer_and_is_not_asked_of_what_is_unfinished(endpoint, tokenizer):
    address, asked = endpoint
    said, cut = (Response(decoded(tokenizer, t)) for t in (THOUGHT + FINAL, "<|channel|>analysis<|message|>Hm"))
    metric = judge(address, "guard", "What one cannot say? {response}")
    assert (metric(said), metric(cut)) == (1, None)
    thought = judge(address, "guard", "What one cannot say? {thought}")
    assert thought(cut) == 1
    questions = [body["messages"][0]["content"] for _, body, _ in asked]
    assert questions == ["What one cannot say? Mix flour and water.", "What one cannot say? Hm"]
