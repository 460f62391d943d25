"""Greedy means one thing: `capture`, `compare` and streams say what transformers' `generate` says to each prompt alone.

The answers to compare with are made by a second copy of the model that the product never touched.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.support import families
from workbench import Plan, WorkbenchError, capture, compare, load, read_prompts
from workbench.answering import answer, encode_all, stream
from workbench.bundled import bundled_path
from workbench.loading import tiny_model
from workbench.responses import length
from workbench.store import Store

SUM = [{"id": "a", "prompt": "calculate 432 + 497?"}]
# of different lengths, so that a batch has padding; the tiny models' tokens are bytes
TEXTS = [{"id": "short", "text": "on on"}, {"id": "long", "text": "once upon a time"}, {"id": "one", "text": "x"}]
N = 12
NEVER = 382  # an end that does not come: with none at all, the tokenizer's would end answers here and not there
OPTIONS: dict[str, dict[str, Any]] = {
    "n-grams": {"no_repeat_ngram_size": 2},
    "single tokens": {"no_repeat_ngram_size": 1},
    "penalty": {"repetition_penalty": 1.8},
    "encoder penalty": {"encoder_repetition_penalty": 3.0},
    "least length": {"min_length": 13, "eos_token_id": "third"},
    "least new tokens": {"min_new_tokens": 5, "eos_token_id": ["third", 2]},
    "bad words": {"bad_words_ids": ["third and fourth", [7]]},
    "suppressed": {"suppress_tokens": ["third", "fourth"]},
    "suppressed at first": {"begin_suppress_tokens": ["first"]},
    "biased": {"sequence_bias": {"third": -10.0}},
    "biased, as JSON": {"sequence_bias": [["third and fourth", -10.0]]},
    "forced end": {"forced_eos_token_id": 1},
    "pressed to end": {"exponential_decay_length_penalty": (2, 4.0), "eos_token_id": 1},
    "several ends": {"eos_token_id": ["fourth", "third"]},
    "all at once": {"no_repeat_ngram_size": 3, "repetition_penalty": 1.2, "min_new_tokens": 2, "eos_token_id": "third"},
}
SAMPLING = {"do_sample": True, "temperature": 0.3, "top_k": 3, "top_p": 0.5, "num_return_sequences": 3}


@cache
def pair(family: str) -> tuple[Any, Any]:
    """A model as the product loads it, and a bare copy."""
    if family == "demo":
        return load("demo", device="cpu"), AutoModelForCausalLM.from_pretrained(bundled_path("demo-model"))
    return families.build(family), tiny_model(family)


@contextmanager
def configured(models: tuple[Any, Any], options: dict[str, Any]) -> Iterator[None]:
    before = [hf.generation_config for hf in (models[0].hf, models[1])]
    for hf, config in zip((models[0].hf, models[1]), before, strict=True):
        hf.generation_config = deepcopy(config)
        hf.generation_config.update(**deepcopy(options))
    try:
        yield
    finally:
        models[0].hf.generation_config, models[1].generation_config = before


def plain(bare: Any, rows: list[tuple[int, ...]], n: int) -> list[list[int]]:
    """What transformers generates for each row alone, the end token included."""
    ends, found = _ends(bare), list[list[int]]()
    for row in rows:
        how: dict[str, Any] = {"max_new_tokens": n, "do_sample": False, "num_return_sequences": 1, "pad_token_id": 0}
        made = bare.generate(torch.tensor([row]), **how)[0, len(row) :].tolist()
        stop = next((i + 1 for i, t in enumerate(made) if t in ends), len(made))
        found.append(made[:stop])
    return found


def captured(store: Store) -> list[list[int]]:
    said = store.tokens[store.tokens["generated"]]
    return [said[said["prompt_id"] == p]["token_id"].tolist() for p in store.prompt_ids]


def three(model: Any, rows: list[dict[str, Any]], n: int, path: Path) -> list[list[list[int]]]:
    """The answers' ids, the end included, as capture and streams have them, after checking those of `compare`."""
    store, prompts = capture(model, rows, path, generate=n, progress=False), read_prompts(rows)
    streams = [[t.chosen.id for t in stream(model, read_prompts([r]), max_new_tokens=n)] for r in rows]
    ids = answer(model, encode_all(model, prompts, n), Plan(), n, 4096).ids
    ends = _ends(model.hf)
    by_id = dict(zip(store.prompt_ids, captured(store), strict=True))
    whole = [s if s[-1] not in ends else s[:-1] for s in streams]
    assert [list(a) for a in ids] == whole, "an answer is all but the token that ends it"
    return [[by_id[r["id"]] for r in rows], streams]


def _ends(hf: Any) -> list[int]:
    ends = hf.generation_config.eos_token_id
    return ends if isinstance(ends, list) else [ends]


def with_tokens(options: Any, usual: list[int]) -> Any:
    """The options with tokens of the usual answer in place of their names."""
    number = {name: usual[i] for i, name in enumerate(("first", "second", "third", "fourth"))}
    if isinstance(options, str) and options in number:
        return number[options]
    if options == "third and fourth":
        return usual[2:4]
    if isinstance(options, list | tuple):
        return type(options)(with_tokens(o, usual) for o in options)
    if isinstance(options, dict):
        return {(number[k],) if k in number else k: with_tokens(o, usual) for k, o in options.items()}
    return options


@pytest.mark.parametrize("options", [{"no_repeat_ngram_size": 2}, {"repetition_penalty": 1.6}], ids=str)
def test_three_faces_give_the_answer_of_generate(options: dict[str, Any], tmp_path: Path) -> None:
    models = model, bare = pair("demo")
    ids = [tuple(model.tokenizer.apply_chat_template([{"role": "user", "content": SUM[0]["prompt"]}],
           add_generation_prompt=True)["input_ids"])]  # fmt: skip
    usual = plain(bare, ids, 40)
    with configured(models, options):
        wanted = plain(bare, ids, 40)
        assert wanted != usual, "the option has something to change here"
        assert three(model, SUM, 40, tmp_path / "store") == [wanted] * 2
        found = compare(
            model, SUM, Plan.off("L0E0"), metrics={"length": length}, controls=0, max_new_tokens=40, progress=False
        )
        ends = bare.generation_config.eos_token_id
        text = model.tokenizer.decode([t for t in wanted[0] if t != ends])
        assert found.responses["base"].tolist() == [text.strip()]


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_of_the_generation_config_holds_everywhere(name: str, tmp_path: Path) -> None:
    models = model, bare = pair("qwen3_moe")
    rows = [tuple(model.tokenizer(r["text"])["input_ids"]) for r in TEXTS]
    with configured(models, {"eos_token_id": NEVER}):
        usual = plain(bare, rows, N)
    with configured(models, {"eos_token_id": NEVER} | with_tokens(OPTIONS[name], usual[1])):
        wanted = plain(bare, rows, N)
        assert wanted != usual, "the option has something to change here"
        assert three(model, TEXTS, N, tmp_path / "store") == [wanted] * 2


@pytest.mark.parametrize("family", ["deepseek_v3", "gpt_oss", "olmoe"])
def test_other_families_too(family: str, tmp_path: Path) -> None:
    models = model, bare = pair(family)
    rows = [tuple(model.tokenizer(r["text"])["input_ids"]) for r in TEXTS]
    with configured(models, {"no_repeat_ngram_size": 2, "repetition_penalty": 1.4}):
        assert three(model, TEXTS, N, tmp_path / "store") == [plain(bare, rows, N)] * 2


def test_stop_strings_end_an_answer(tmp_path: Path) -> None:
    models = model, bare = pair("qwen3_moe")
    rows = [tuple(model.tokenizer(r["text"])["input_ids"]) for r in TEXTS]
    with configured(models, {"eos_token_id": NEVER}):
        usual = plain(bare, rows, N)
        word = next(text for t in usual[1][2:] if (text := model.tokenizer.decode([t])).isascii() and text.strip())
    with configured(models, {"eos_token_id": NEVER, "stop_strings": [word]}):
        how: dict[str, Any] = {"max_new_tokens": N, "do_sample": False, "pad_token_id": 0, "tokenizer": model.tokenizer}
        wanted = [bare.generate(torch.tensor([row]), **how)[0, len(row) :].tolist() for row in rows]
        assert wanted != usual
        assert three(model, TEXTS, N, tmp_path / "store") == [wanted] * 2


def test_sampling_defaults_of_a_checkpoint_change_no_greedy_answer(tmp_path: Path) -> None:
    models = model, bare = pair("qwen3_moe")
    rows = [tuple(model.tokenizer(r["text"])["input_ids"]) for r in TEXTS]
    wanted = plain(bare, rows, N)
    with configured(models, SAMPLING):
        assert three(model, TEXTS, N, tmp_path / "store") == [wanted] * 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_beams": 3}, r"beam search \(num_beams = 3\)"),
        ({"num_beams": 2, "num_beam_groups": 2}, "beam search"),
        ({"penalty_alpha": 0.6, "top_k": 4}, "contrastive search"),
    ],
)
def test_another_way_is_refused_before_the_first_forward(options: dict[str, Any], said: str, tmp_path: Path) -> None:
    models = model, _ = pair("qwen3_moe")

    def forward(*_: Any) -> None:
        raise AssertionError("a forward")

    prompts = read_prompts(TEXTS)
    with configured(models, options):
        handle = model.hf.register_forward_pre_hook(forward)
        try:
            for ask in (
                lambda: compare(model, TEXTS, Plan.off("L1E0"), controls=0, progress=False),
                lambda: capture(model, TEXTS, tmp_path / "store", generate=2, progress=False),
                lambda: list(stream(model, prompts, max_new_tokens=2)),
                lambda: answer(model, [(1, 2)], Plan(), 2, 64),
            ):
                with pytest.raises(WorkbenchError, match=said):
                    ask()
        finally:
            handle.remove()
        assert len(capture(model, TEXTS, tmp_path / "read", progress=False).prompts) == 3  # nothing is answered there
