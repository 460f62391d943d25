"""Capture on tiny random models: what is stored equals single unpadded forwards, and every refusal is a sentence."""

import errno
import hashlib
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tests.support.families import get
from tests.support.stores import assert_same_content
from workbench import ExpertRef, Plan, Store, WorkbenchError, capture, open_store, read_prompts, steered
from workbench.capturing import Estimate
from workbench.hooks import recording
from workbench.model import MoEModel

PROMPTS = [
    {"id": "long", "text": "a considerably longer text"},
    {"id": "chat", "prompt": "hi", "labels": {"kind": "chat"}, "pair": "1", "split": "s", "cluster": "c"},
    {"id": "one", "text": "x", "response": "given"},
    {"id": "two", "text": "another text"},
]
EVERYTHING = frozenset({"norms", "residual", "logits", "outputs"})


@pytest.fixture(scope="module")
def model() -> MoEModel:
    return get("qwen2_moe")


def quiet(model: MoEModel, into: Path, prompts: Any = PROMPTS, **how: Any) -> Store:
    return capture(model, prompts, into, progress=False, **how)


@contextmanager
def counted(model: MoEModel) -> Iterator[list[int]]:
    """The sizes of the forwards that run."""
    seen: list[int] = []
    handle = model.hf.register_forward_pre_hook(
        lambda _, __, kwargs: seen.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    try:
        yield seen
    finally:
        handle.remove()


def alone(model: MoEModel, ids: list[int]) -> Any:
    """The record of one unpadded forward."""
    with recording(model, keep=EVERYTHING) as recorder, torch.no_grad():
        model.hf(input_ids=torch.tensor([ids]), use_cache=False)
        return recorder.take()


def rows_of(frame: pd.DataFrame, prompt: str, layer: int, sample: int = 0) -> pd.DataFrame:
    chosen = frame[(frame["prompt_id"] == prompt) & (frame["layer"] == layer) & (frame["sample"] == sample)]
    return chosen.sort_values([c for c in ("position", "slot") if c in chosen])


def assert_equals_single_forwards(model: MoEModel, store: Store, last_is_forwarded: bool) -> None:
    slots, residual = store.table("slots"), store.table("residual")
    logits, outputs = store.table("logits"), store.table("outputs")
    keys = store.tokens[["prompt_id", "sample"]].drop_duplicates()
    for prompt, sample in keys.itertuples(index=False):
        chosen = store.tokens[(store.tokens["prompt_id"] == prompt) & (store.tokens["sample"] == sample)]
        ids = chosen["token_id"].tolist()[: None if last_is_forwarded else -1]
        record = alone(model, ids)
        for layer, expected in record.layers.items():
            found = rows_of(slots, prompt, layer, sample)
            routed, shared = found[found["slot"] >= 0], found[found["slot"] < 0]
            assert routed["position"].tolist() == np.repeat(np.arange(len(ids)), expected.index.shape[1]).tolist()
            same(routed["expert"], expected.index)
            same(routed["weight"], expected.weight)
            same(routed["output_l2"], expected.output_l2)
            same(routed["output_max_abs"], expected.output_max_abs)
            same(routed["output_argmax"], expected.output_argmax)
            for s, one in enumerate(expected.shared):
                mine = shared[shared["slot"] == -1 - s]
                assert (mine["expert"] == -1 - s).all()
                same(mine["weight"], one.weight)
                same(mine["output_l2"], one.size[0])
            same(np.stack(rows_of(logits, prompt, layer, sample)["router_logits"]), expected.logits)
            vectors = rows_of(outputs, prompt, layer, sample).query("slot >= 0")
            order = expected.outputs.slots.argsort()
            same(np.stack(vectors["output"]), expected.outputs.vectors[order])
            assert vectors["expert"].tolist() == expected.outputs.experts[order].tolist()
        for layer, stream in record.residual.items():
            found = rows_of(residual, prompt, layer, sample)
            same(found["l2"], stream.l2)
            same(found["median_abs"], stream.median_abs)
            assert found["routed_change"].isna().all() == (stream.routed_change is None)


def same(found: Any, expected: Any) -> None:
    numbers = expected.numpy().reshape(-1)
    most = max(
        1.0, float(np.abs(numbers).max(initial=0.0))
    )  # a sum's rounding goes by what was summed, not by what is left
    np.testing.assert_allclose(np.asarray(found).reshape(-1), numbers, rtol=2e-4, atol=1e-5 * most)


def test_a_number_that_is_off_by_more_than_rounding_is_seen() -> None:
    numbers = torch.tensor([2.3, -3.5, 0.0056, 0.4])
    same(numbers + torch.tensor([0, 0, 2.3e-5, 0]), numbers)  # as other instructions sum
    for place, off in ((2, 1e-4), (0, 1e-3), (3, -2e-4)):
        moved = numbers.clone()
        moved[place] += off
        with pytest.raises(AssertionError):
            same(moved, numbers)


def test_prompts_alone(model: MoEModel, tmp_path: Path) -> None:
    store = quiet(model, tmp_path / "store", keep=EVERYTHING, batch_tokens=70)
    assert len(store.plan_json["batches"]) > 1
    assert_equals_single_forwards(model, store, last_is_forwarded=True)
    expected = sum(store.prompts["n_tokens"]) * sum(x.top_k + x.n_shared for x in model.anatomy.layers)
    assert len(store.table("slots")) == expected == store.manifest["rows"]["slots"]
    assert set(store.table("residual")["layer"]) == {-1, 0, 1, 2}
    assert not store.tokens["generated"].any()
    assert store.tokens["logprob"].isna().all()
    assert store.check() == []
    chat = store.prompts.set_index("prompt_id").loc["chat"]
    assert (chat["pair"], chat["split"], chat["cluster"]) == ("1", "s", "c")
    assert store.labels[["prompt_id", "name", "value", "source"]].values.tolist() == [["chat", "kind", "chat", "given"]]


@pytest.mark.parametrize("family", ["mixtral", "deepseek_v3", "gpt_oss"])
def test_generation_is_recorded_as_it_went(family: str, tmp_path: Path) -> None:
    model = get(family)
    store = quiet(model, tmp_path / "store", keep=EVERYTHING, generate=5)
    assert_equals_single_forwards(model, store, last_is_forwarded=False)
    tokens = store.tokens
    assert tokens["logprob"].notna().tolist() == tokens["generated"].tolist()
    for prompt in store.prompt_ids:
        ids = tokens[(tokens["prompt_id"] == prompt) & ~tokens["generated"]]["token_id"].tolist()
        with torch.no_grad():
            made = model.hf.generate(torch.tensor([ids]), max_new_tokens=5, do_sample=False, pad_token_id=0)
        generated = tokens[(tokens["prompt_id"] == prompt) & tokens["generated"]]["token_id"].tolist()
        assert generated == made[0, len(ids) :].tolist()


def test_sampling_does_not_depend_on_the_batch(model: MoEModel, tmp_path: Path) -> None:
    how: dict[str, Any] = {"generate": 4, "samples": 3, "temperature": 1.0, "seed": 7}
    together = quiet(model, tmp_path / "a", **how)
    apart = quiet(model, tmp_path / "b", list(reversed(PROMPTS)), batch_tokens=1, **how)
    other = quiet(model, tmp_path / "c", **(how | {"seed": 8}))
    assert answers(together) == answers(apart)
    assert answers(together) != answers(other)
    samples = answers(together)["two"]
    assert len({tuple(s) for s in samples}) > 1


def answers(store: Store) -> dict[str, list[list[int]]]:
    said = store.tokens[store.tokens["generated"]]
    grouped = said.groupby(["prompt_id", "sample"], observed=True)["token_id"].apply(list)
    return {p: [grouped[p, s] for s in range(store.n_samples)] for p in store.prompt_ids}


def test_generation_stops_at_the_end_token(model: MoEModel, tmp_path: Path) -> None:
    first = answers(quiet(model, tmp_path / "a", generate=4))["long"][0]
    model.hf.generation_config.eos_token_id, before = first[1], model.hf.generation_config.eos_token_id
    try:
        store = quiet(model, tmp_path / "b", generate=4)
    finally:
        model.hf.generation_config.eos_token_id = before
    assert answers(store)["long"][0] == first[:2]
    n_prompt = int(store.prompts.set_index("prompt_id").loc["long", "n_tokens"])
    assert store.table("slots").query("prompt_id == 'long'")["position"].max() == n_prompt  # the end was not forwarded


def test_given_responses(model: MoEModel, tmp_path: Path) -> None:
    given = {p["id"]: ["first", "second one"] for p in PROMPTS}
    store = quiet(model, tmp_path / "store", responses=given, keep=EVERYTHING)
    assert store.n_samples == 2
    assert_equals_single_forwards(model, store, last_is_forwarded=True)
    answer = store.tokens.merge(store.prompts[["prompt_id", "n_tokens"]].astype({"prompt_id": "str"}), on="prompt_id")
    answer = answer[(answer["position"] >= answer["n_tokens"]) & (answer["sample"] == 1)]
    assert set(answer.groupby("prompt_id", observed=True)["token"].sum()) == {"second one"}
    assert set(answer["role"]) == {"assistant"}
    assert not store.tokens["generated"].any()
    from_file = quiet(model, tmp_path / "file", [PROMPTS[2]], responses=True)
    assert from_file.tokens["token"].sum().endswith("given")


def test_layers_and_experts_limit_outputs(model: MoEModel, tmp_path: Path) -> None:
    chosen = [ExpertRef(1, 3), "L2S0"]
    store = quiet(model, tmp_path / "store", keep={"outputs", "logits"}, layers=[1, 2], experts=chosen)
    found = store.table("outputs", ["layer", "expert"]).drop_duplicates().values.tolist()
    assert sorted(found) == [[1, 3], [2, -1]]
    assert set(store.table("logits")["layer"]) == {1, 2}
    assert set(store.table("slots")["layer"]) == set(model.anatomy.moe_layers)
    assert store.table("slots")["output_l2"].isna().all()
    assert not store.has("residual")


def test_a_steered_store_says_so(model: MoEModel, tmp_path: Path) -> None:
    plan = Plan.off([ExpertRef(1, 3)])
    store = quiet(model, tmp_path / "a", plan=plan)
    assert "steered with off L1E3" in repr(store)
    assert str(store.steering) == store.info()["steering"] == "off L1E3"
    assert store.manifest["steering"] == store.plan_json["steering"]
    assert 3 not in set(store.table("slots", layers=[1])["expert"])
    with steered(model, plan):
        assert_same_content(quiet(model, tmp_path / "b"), store)
    assert open_store(tmp_path / "b").steering == store.steering
    with pytest.raises(WorkbenchError, match="was begun with another steering plan"):
        quiet(model, tmp_path / "a")
    assert quiet(model, tmp_path / "base").steering is None


def test_no_text_leaves_no_words(model: MoEModel, tmp_path: Path) -> None:
    secret = "zebra crossing"
    store = quiet(
        model,
        tmp_path / "store",
        [{"id": "a", "text": secret, "response": secret, "labels": {"answer": secret, "topic": "war"}}],
        text=False,
        responses=True,
    )
    assert store.prompts["text"].isna().all()
    assert store.tokens[["token_id", "token"]].isna().all().all()
    assert store.tokens["role"].tolist()[-1] == "assistant"
    for file in store.path.rglob("*"):
        if file.suffix == ".json":
            assert "zebra" not in file.read_text()
        elif file.suffix == ".parquet":
            texts = [c for c in pq.read_table(file).columns if pa.types.is_string(c.type)]
            assert not any("zebra" in str(value) for column in texts for value in column.to_pylist())


def test_a_complete_store_is_returned_without_a_forward(model: MoEModel, tmp_path: Path) -> None:
    quiet(model, tmp_path / "store")
    before, files = fingerprint(tmp_path), {f: f.stat().st_ino for f in tmp_path.rglob("*")}
    with counted(model) as forwards:
        quiet(model, tmp_path / "store")
    assert forwards == []
    assert fingerprint(tmp_path) == before
    assert {f: f.stat().st_ino for f in tmp_path.rglob("*")} == files, "written once more"


def test_hooks_modes_and_gradients_are_as_they_were(model: MoEModel, tmp_path: Path) -> None:
    """Also where the user trains: a hook of theirs stays and fires, modules in training stay there, gradients flow."""
    ids, seen = torch.tensor([[5, 6, 7]]), list[int]()
    with torch.no_grad():
        before = model.hf(ids).logits
    theirs = model.hf.model.layers[0].mlp.register_forward_hook(lambda *_: seen.append(1))
    in_training, frozen = model.hf.model.layers[1].mlp, model.hf.get_input_embeddings().weight
    in_training.train()
    frozen.requires_grad_(False)
    state = [(n, m.training, len(m._forward_hooks), len(m._forward_pre_hooks)) for n, m in model.hf.named_modules()]
    wanting = {n: p.requires_grad for n, p in model.hf.named_parameters()}
    try:
        quiet(model, tmp_path / "store", generate=2)
        assert seen, "the user's own hook fires during a capture"
        after = [(n, m.training, len(m._forward_hooks), len(m._forward_pre_hooks)) for n, m in model.hf.named_modules()]
        assert after == state
        assert {n: p.requires_grad for n, p in model.hf.named_parameters()} == wanting
        assert torch.is_grad_enabled()
        loss = model.hf(ids).logits.float().logsumexp(-1).sum()
        (gradient,) = torch.autograd.grad(loss, in_training.experts.down_proj)
        assert gradient.abs().sum() > 0
    finally:
        theirs.remove()
        in_training.eval()
        frozen.requires_grad_(True)
    with torch.no_grad():
        assert torch.equal(model.hf(ids).logits, before)


def fingerprint(folder: Path) -> dict[str, str]:
    return {str(f): hashlib.sha256(f.read_bytes()).hexdigest() for f in sorted(folder.rglob("*")) if f.is_file()}


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({"generate": 2}, r"was begun with another generate \(0 there, 2 here\).*; nothing was changed"),
        ({"keep": {"norms"}}, "was begun with another keep"),
        ({"prompts": PROMPTS[:2]}, "was begun with another prompt set"),
        ({"batch_tokens": 30}, "was begun with another batch_tokens"),
        ({"seed": 1}, "was begun with another seed"),
        ({"resume": False}, "already holds a store; choose another folder, or resume=True"),
    ],
)
def test_another_request_changes_nothing(model: MoEModel, tmp_path: Path, how: Any, sentence: str) -> None:
    quiet(model, tmp_path / "store")
    before = fingerprint(tmp_path)
    with pytest.raises(WorkbenchError, match=sentence):
        quiet(model, tmp_path / "store", **how)
    assert fingerprint(tmp_path) == before


def test_another_model_is_refused(model: MoEModel, tmp_path: Path) -> None:
    quiet(model, tmp_path / "store")
    before = fingerprint(tmp_path)
    with pytest.raises(WorkbenchError, match=r"was begun with another model \(.* there, .* here\)"):
        quiet(get("mixtral"), tmp_path / "store")
    with pytest.raises(WorkbenchError, match=r"was begun with another dtype \(float32 there, bfloat16 here\)"):
        quiet(get("qwen2_moe", "bfloat16"), tmp_path / "store")
    assert fingerprint(tmp_path) == before


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({"keep": {"norm"}}, r"capture\(keep=...\) does not know 'norm'; .* did you mean 'norms'\?"),
        ({"generate": -1}, r"capture\(generate=-1\) makes no sense; it should be at least 0"),
        ({"samples": 0}, r"capture\(samples=0\) makes no sense"),
        ({"batch_tokens": 0}, r"capture\(batch_tokens=0\) makes no sense"),
        ({"samples": 2}, r"capture\(samples=2\) would make the same rows 2 times"),
        ({"samples": 2, "generate": 3}, r"give generate=N and a temperature above 0"),
        ({"generate": 2, "responses": {p["id"]: "a" for p in PROMPTS}}, "takes given responses or generates, not both"),
        ({"responses": {"lang": "a"}}, r"given for the prompt 'lang', which is not asked; did you mean 'long'\?"),
        ({"responses": True}, "The prompt 'long' has no given response"),
        ({"responses": {p["id"]: ["a"] * (1 + (p["id"] == "two")) for p in PROMPTS}}, "different numbers of given"),
        ({"responses": {p["id"]: "" for p in PROMPTS}}, "A given response of the prompt 'long' is empty"),
        ({"layers": [9]}, "Layer 9 does not exist"),
        ({"experts": ["L1E99"], "keep": {"outputs"}}, "L1E99: layer 1 of .* has experts 0-15"),
        ({"experts": ["L1E1"]}, "add 'outputs' to keep"),
        ({"experts": ["1.1"], "keep": {"outputs"}}, "'1.1' is not an expert"),
        ({"prompts": []}, "The list holds no prompts"),
        ({"prompts": "nowhere.csv"}, "There is no prompt file 'nowhere.csv'"),
        ({"prompts": [{"id": "big", "text": "x" * 600}]}, "The prompt 'big' has 601 tokens, and .* takes 512; shorten"),
        ({"prompts": ["x" * 509], "generate": 4}, "has 510 tokens and 4 to generate, and .* takes 512"),
        (
            {"backend": "nnsight"},
            r"capture\(backend=...\) is not a word any more: .* load\(..., engine='nnsight', remote=True\)",
        ),
        ({"remote": True}, r"capture\(remote=...\) is not a word any more"),
        ({"plan": Plan.off([ExpertRef(9, 0)])}, "Layer 9 does not exist"),
    ],
)
def test_bad_requests_write_nothing(model: MoEModel, tmp_path: Path, how: Any, sentence: str) -> None:
    with pytest.raises(WorkbenchError, match=sentence):
        quiet(model, tmp_path / "store", **how)
    assert list(tmp_path.iterdir()) == []


def test_a_dense_layer_has_no_logits(tmp_path: Path) -> None:
    with pytest.raises(WorkbenchError, match="Layer 0 of tiny/deepseek_v3 is dense"):
        quiet(get("deepseek_v3"), tmp_path / "store", keep={"logits"}, layers=[0])


def test_a_folder_with_other_files_is_refused(model: MoEModel, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(WorkbenchError, match="holds other files; choose a folder that does not exist or is empty"):
        quiet(model, tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkbenchError, match="cannot be a store because a file"):
        quiet(model, tmp_path / "file" / "store")


def test_a_disk_too_small_is_refused_before_anything_is_written(
    model: MoEModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Estimate, "total", property(lambda self: 10**18))
    with pytest.raises(WorkbenchError, match=r"The store '.*' needs about .* and its disk has .* free"):
        quiet(model, tmp_path / "store")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("nth", [1, 4, 7])
def test_a_full_disk_midway_is_a_sentence_and_the_store_goes_on(
    model: MoEModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    how: dict[str, Any] = {"batch_tokens": 40, "shard_tokens": 40}
    whole = quiet(model, tmp_path / "whole", **how)
    assert len(whole.manifest["shards"]) > 2
    original, calls = pq.ParquetWriter.write_table, itertools.count(1)

    def fills_up(self: Any, *args: Any, **kwargs: Any) -> None:
        if next(calls) >= nth:
            raise OSError(errno.ENOSPC, "No space left on device")
        original(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(pq.ParquetWriter, "write_table", fills_up)
        with pytest.raises(WorkbenchError, match=r"The disk is full while writing .* run the same capture again"):
            quiet(model, tmp_path / "store", **how)
    with pytest.raises(WorkbenchError, match="is half written"):
        open_store(tmp_path / "store")
    assert_same_content(quiet(model, tmp_path / "store", **how), whole)
    assert open_store(tmp_path / "store").check() == []


def test_progress_adds_up_and_ends(model: MoEModel, tmp_path: Path) -> None:
    seen: list[Any] = []
    store = capture(model, PROMPTS, tmp_path / "store", batch_tokens=40, generate=3, progress=seen.append)
    assert seen[0].message.startswith("Capturing 4 prompts into")
    assert "about" in seen[0].message
    assert seen[-1].done == seen[-1].total == store.manifest["rows"]["tokens"] - 4  # the last of each is not forwarded
    assert all(a.done <= b.done for a, b in itertools.pairwise(seen))


def test_what_the_plan_records(model: MoEModel, tmp_path: Path) -> None:
    store = quiet(model, tmp_path / "store")
    plan = store.plan_json
    assert plan["model"]["weights"] == model.anatomy.weights
    assert plan["anatomy"]["fingerprint"] == model.anatomy.fingerprint == store.manifest["fingerprint"]
    assert plan["prompts"]["fingerprint"] == read_prompts(PROMPTS).fingerprint
    assert set(plan["versions"]) == {"workbench", "numpy", "torch", "transformers", "tokenizers", "pyarrow"}
    assert len(plan["seeds"]) == len(PROMPTS)
    assert plan["dtype"] == "float32"
    assert any(
        w.startswith("roles are unknown: text is tokenised as it is (3 prompts") or "3 prompts" in w
        for w in store.manifest["warnings"]
    )
    assert not list((store.path / ".writing").iterdir())
