"""A character may take several tokens (Chinese, emoji): the text of a response is decoded whole."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from probes.reading import classes
from workbench import capture, load
from workbench.loading import tiny_model, tiny_tokenizer
from workbench.prompts import ROLES, MarkedIds, response_roles
from workbench.responses import ExactAnswer, Refusal, classify, responses
from workbench.store import write_store
from workbench.thinking import pieces

CHINESE = "我无法回答这个问题。"
FAMILY = "👩‍👩‍👧 says hello 🙂"


def byte_level() -> Any:
    tokens = Tokenizer(models.BPE())
    tokens.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokens.decoder = decoders.ByteLevel()
    letters = pre_tokenizers.ByteLevel.alphabet()
    tokens.train_from_iterator(
        ["the cat"], trainers.BpeTrainer(vocab_size=300, special_tokens=["<eos>"], initial_alphabet=letters)
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokens, eos_token="<eos>", pad_token="<eos>")


@pytest.fixture(scope="module")
def model() -> Any:
    return load(tiny_model("olmoe"), byte_level())


ROWS = [
    {"id": "chinese", "text": "the cat", "response": CHINESE, "labels": {"answer": CHINESE}},
    {"id": "family", "text": "the cat", "response": FAMILY, "labels": {"answer": FAMILY}},
    {"id": "thought", "text": "the cat", "response": f"◁think▷{FAMILY}◁/think▷{CHINESE}<eos>", "labels": {"answer": CHINESE}},
    {"id": "german", "text": "the cat", "response": "Ich weiß es nicht.", "labels": {"answer": "ich weiß es nicht"}},
]  # fmt: skip


@pytest.fixture(scope="module")
def store(model: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return capture(model, ROWS, tmp_path_factory.mktemp("f06") / "s", responses=True, progress=False)


def test_a_response_is_the_text_that_was_given(store):
    said = {r.prompt_id: str(r) for r in responses(store)}
    assert said == {row["id"]: row["response"].removesuffix("<eos>") for row in ROWS}
    assert classify(store, Refusal())["value"].tolist() == ["refused", "answered", "refused", "answered"]
    assert classify(store, ExactAnswer())["value"].tolist() == ["right"] * 4
    assert store.check() == []
    assert store.info()["rows"]["responses"] == 4


def test_a_marker_in_pieces_is_a_marker(store, model):
    """Each of its characters takes three tokens."""
    n_prompt, n_thought = (len(model.tokenizer(t)["input_ids"]) for t in ("the cat", f"◁think▷{FAMILY}◁/think▷"))
    roles = store.tokens[store.tokens["prompt_id"] == "thought"]["role"].tolist()[n_prompt:]
    assert roles == ["think"] * n_thought + ["assistant"] * len(CHINESE.encode()) + ["special"]


def test_without_text_there_is_none_of_it(model, tmp_path):
    bare = capture(model, ROWS, tmp_path / "bare", responses=True, text=False, progress=False)
    assert not bare.has("responses")
    assert not list((tmp_path / "bare").glob("responses*"))
    sums = capture(model, ["the cat"], tmp_path / "prompts", progress=False)
    assert not sums.has("responses")


def test_samples_have_texts_of_their_own(model, tmp_path):
    given = {"a": ["猫。", "犬🐕", "x"], "b": ["", "é", "我"]}
    rows = [{"id": name, "text": "the cat"} for name in given]
    given["b"][0] = "ß"
    two = capture(model, rows, tmp_path / "two", responses=given, progress=False)
    assert [(r.prompt_id, r.sample, str(r)) for r in responses(two)] == [
        (name, i, text) for name, texts in given.items() for i, text in enumerate(texts)
    ]


def test_an_old_store_is_whole_with_the_tokenizer_and_says_so_without(store, model, tmp_path):
    tables = {name: store.table(name) for name in ("prompts", "tokens", "slots", "labels")}
    old = write_store(tmp_path / "old", store.anatomy, tables)
    assert any("\ufffd" in r for r in responses(old))
    assert [str(r) for r in responses(old, model.tokenizer)] == [str(r) for r in responses(store)]
    assert classify(old, Refusal(), model.tokenizer)["value"].tolist()[0] == "refused"
    how: Any = {"classifier": lambda response: response.prompt_id}
    notes = classes(old, "chinese", None, **how).notes
    assert any(note.startswith("4 of the responses hold characters cut apart") for note in notes)
    assert not any("cut apart" in note for note in classes(store, "chinese", None, **how).notes)


def test_a_half_old_store_has_all_its_responses(store, tmp_path):
    """A capture that an older workbench began and this one ended holds whole texts for some responses alone."""
    tables = {name: store.table(name) for name in ("prompts", "tokens", "slots", "responses")}
    texts = tables["responses"]
    tables["responses"] = texts[texts["prompt_id"] == "chinese"]
    mixed = write_store(tmp_path / "mixed", store.anatomy, tables, n_shards=2)
    for shard in mixed.manifest["shards"][1:]:
        shard["files"] = [file for file in shard["files"] if file["table"] != "responses"]
    said = {r.prompt_id: str(r) for r in responses(mixed)}
    assert said["chinese"] == CHINESE
    assert set(said) == {row["id"] for row in ROWS}


@pytest.mark.parametrize("tokenizer", [byte_level(), tiny_tokenizer()], ids=["byte-level", "ByT5"])
def test_pieces_hold_a_character_back_until_it_is_whole(tokenizer):
    text = f"a {CHINESE[:2]}🙂b"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    for n in range(1, len(ids) + 1):
        shown = pieces(tokenizer, ids[:n], ended=False)
        assert len(shown) == n
        assert text.startswith("".join(shown))
        assert "\ufffd" not in "".join(shown)
    assert "".join(pieces(tokenizer, ids)) == text
    assert "" in pieces(tokenizer, ids)


def test_broken_bytes_come_to_an_end():
    tokenizer = byte_level()
    broken = tokenizer("我", add_special_tokens=False)["input_ids"][:1] * 20
    shown = pieces(tokenizer, [*broken, *tokenizer("cat", add_special_tokens=False)["input_ids"]])
    assert "".join(shown).endswith("cat")
    assert "\ufffd" in "".join(shown[:10])  # they are not waited for without end


def test_roles_do_not_move_where_a_character_takes_several_tokens():
    tokenizer = byte_level()
    parts = ["<think>", "🙂🙂", "</think>", "我"]
    ids = [tokenizer(part, add_special_tokens=False)["input_ids"] for part in parts]
    roles = response_roles(tokenizer, [i for part in ids for i in part], MarkedIds(tokenizer))
    names = [ROLES[role] for role in roles]
    assert names == ["think"] * sum(map(len, ids[:3])) + ["assistant"] * len(ids[3])
    assert np.all(roles >= 0)


def test_the_dashboard_shows_whole_characters():
    from workbench_app.dashboard.steer.answering import Answering
    from workbench_app.dashboard.widgets import Chip
    from workbench_app.dashboard.widgets.token_chips import chip_text

    tokenizer = byte_level()
    ids = tokenizer("我🙂", add_special_tokens=False)["input_ids"]
    token = [SimpleNamespace(chosen=SimpleNamespace(id=i), is_end=False) for i in ids]
    machine: Any = SimpleNamespace(model=SimpleNamespace(tokenizer=tokenizer))
    one = Answering(machine, "?", None, 9, base=token[:-1], state="running")  # pyright: ignore[reportArgumentType]
    assert "".join(one.pieces("base")) == "我"
    one.base, one.state = token, "done"  # pyright: ignore[reportAttributeAccessIssue]
    assert "".join(one.pieces("base")) == "我🙂"
    assert len(one.pieces("base")) == len(ids)
    assert [chip_text(Chip(piece, kind="parted part")) for piece in ("", "")] == ["", ""]  # a dot, which is no text
    assert chip_text(Chip("")) == "∅"


def test_what_streamed_tokens_add_is_the_answer() -> None:
    from tests.support import families
    from workbench import Plan, compare, read_prompts
    from workbench.answering import stream

    model, prompts = families.get("demo"), read_prompts([{"prompt": "calculate 432 + 497?"}])
    tokens = list(stream(model, prompts, max_new_tokens=40))
    how: dict[str, Any] = {"metrics": {"n": len}, "controls": 0, "max_new_tokens": 40, "progress": False}
    said = compare(model, prompts, Plan.off("L0E0"), **how).responses.iloc[0]["base"]
    assert "".join(t.text for t in tokens if not t.is_end).strip() == said
    assert all(t.text for t in tokens), "every token of this tokenizer is whole"
