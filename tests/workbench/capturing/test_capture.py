"""What a capture stores equals single unpadded forwards."""

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
from tests.workbench.capturing.small import EVERYTHING, PROMPTS, answers, quiet
from workbench import ExpertRef, Plan, Store, WorkbenchError, open_store, steered
from workbench.hooks import recording
from workbench.model import MoEModel


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
