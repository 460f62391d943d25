"""NaN and infinity are counted with layer and expert: in the store, in probes and in `compare`, never without a word."""

import copy
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from probes import contrast, ftri, routing_entropy, super_experts, usage
from tests.support import families, reference
from tests.support.stores import anatomy, assert_same_content, random_tables
from workbench import ExpertRef, Plan, WorkbenchError, capture, compare, load, open_store
from workbench.records import routed_change
from workbench.shards import said
from workbench.shards.manifest import sealed
from workbench.store import Store, write_store

PROMPTS = [{"id": f"p{i}", "text": text, "labels": {"side": "ab"[i % 2]}} for i, text in enumerate(
    ["The quick brown fox 0", "hello there", "a third one, longer than the others", "four"]
)]  # fmt: skip
NAN, INF = float("nan"), float("inf")


@pytest.fixture(scope="module")
def olmoe() -> Any:
    return families.build("olmoe")


@contextmanager
def broken(model: Any, layer: int, expert: int, value: float) -> Iterator[None]:
    """One weight of one expert is not finite while this is open."""
    weight = reference.experts_of(model.hf, layer).down_proj.data
    sound = weight[expert, 0, 0].clone()
    weight[expert, 0, 0] = value
    try:
        yield
    finally:
        weight[expert, 0, 0] = sound


def who_selects(model: Any, layer: int, expert: int, prompts: list[dict[str, Any]]) -> dict[str, list[int]]:
    """Positions at which the experts module of the layer is handed the expert, by a hook of this test, prompt by prompt."""
    seen: list[torch.Tensor] = []
    hook = reference.experts_of(model.hf, layer).register_forward_pre_hook(lambda module, args: seen.append(args[1]))
    found: dict[str, list[int]] = {}
    for prompt in prompts:
        with torch.no_grad():
            model.hf(model.tokenizer(prompt["text"], return_tensors="pt")["input_ids"])
        found[prompt["id"]] = (seen.pop() == expert).any(-1).nonzero()[:, 0].tolist()
    hook.remove()
    return {name: rows for name, rows in found.items() if rows}


def made(model: Any, into: Path, **options: Any) -> Store:
    return capture(model, PROMPTS, into, progress=False, **{"shard_tokens": 30, "batch_tokens": 30, **options})


@pytest.fixture(scope="module")
def last_layer(olmoe: Any, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """L2E15 broken in the last of three layers: nothing behind it."""
    with broken(olmoe, 2, 15, NAN):
        return made(olmoe, tmp_path_factory.mktemp("f10") / "store")


# ---- the store


@pytest.mark.parametrize(("expert", "value"), [(15, NAN), (15, INF), (3, -INF), (0, NAN)])
def test_the_store_counts_layer_expert_and_tokens(olmoe: Any, tmp_path: Path, expert: int, value: float) -> None:
    wanted = who_selects(olmoe, 2, expert, PROMPTS)
    assert wanted, "somebody has to select it"
    with broken(olmoe, 2, expert, value):
        store = made(olmoe, tmp_path / "store")
    frame = store.nonfinite
    outputs = frame[frame["what"] == "output"]
    assert set(zip(outputs["layer"], outputs["expert"], strict=True)) == {(2, expert)}
    assert dict(zip(outputs["prompt_id"], outputs["n_tokens"], strict=True)) == {k: len(v) for k, v in wanted.items()}
    assert dict(zip(outputs["prompt_id"], outputs["first_position"], strict=True)) == {
        k: v[0] for k, v in wanted.items()
    }
    assert outputs["n_own"].tolist() == outputs["n_tokens"].tolist(), "their input was finite"
    assert set(frame["what"]) == {"output", "routed_change", "residual"}
    assert frame.loc[frame["what"] != "output", "expert"].isna().all()
    n = sum(map(len, wanted.values()))
    assert store.check() == [f"{store.info()['nonfinite']} Store.nonfinite counts them."]
    assert f"first in layer 2: output of L2E{expert} at {n} tokens" in store.check()[0]
    assert "not finite" in repr(store)


def test_a_sound_store_says_nothing(olmoe: Any, tmp_path: Path) -> None:
    store = made(olmoe, tmp_path / "store", keep={"norms", "residual", "logits", "outputs"}, generate=2)
    assert store.nonfinite.empty
    assert store.check() == []
    assert store.info()["nonfinite"] == ""
    assert not (store.path / "nonfinite").exists(), "a sound store has the files that it always had"
    assert "not finite" not in repr(store)
    assert not [note for note in super_experts(store).notes if "finite" in note]


def test_what_comes_behind_is_counted_and_told_apart(olmoe: Any, tmp_path: Path) -> None:
    """Behind a NaN of layer 0 everything is NaN; only L0E5, and an expert broken by itself elsewhere, made it of finite input."""
    touched = who_selects(olmoe, 0, 5, PROMPTS)
    assert touched
    with broken(olmoe, 0, 5, NAN):
        store = made(olmoe, tmp_path / "store", keep={"norms", "residual", "logits"}, generate=3)
    frame = store.nonfinite
    own = frame[frame["n_own"].fillna(0) > 0]
    assert set(zip(own["layer"], own["expert"], strict=True)) == {(0, 5)}
    assert set(frame["what"]) == {"router_logits", "weight", "output", "routed_change", "residual", "logits"}
    assert set(frame.loc[frame["what"] == "logits", "layer"]) == {3}, "one above the last"
    assert "first in layer 0: output of L0E5" in said(frame)
    assert said(frame).endswith("and in 3 layers above.")
    logits = frame[frame["what"] == "logits"].set_index("prompt_id")
    tokens = store.tokens[store.tokens["generated"]].groupby("prompt_id", observed=True)["position"]
    for prompt in touched:
        assert logits["first_position"][prompt] == tokens.min()[prompt] - 1, (
            "the position before the first answer token"
        )
        assert logits["n_tokens"][prompt] == tokens.size()[prompt]


@pytest.mark.parametrize("keep", [{"norms"}, {"outputs"}, set()])
def test_whatever_is_kept_something_is_said(olmoe: Any, tmp_path: Path, keep: set[str]) -> None:
    """Without sizes the vectors tell, without vectors the weights of the layer behind."""
    with broken(olmoe, 1, 15, INF):
        store = made(olmoe, tmp_path / "store", keep=keep)
    assert f"layer {1 if keep else 2}" in said(store.nonfinite)
    assert ("output of L1E15" in said(store.nonfinite)) == bool(keep)


def test_shared_experts_routers_and_embeddings_have_names(tmp_path: Path) -> None:
    model = families.build("deepseek_v3")
    layer = families.moe_layer(model)
    block = model.hf.model.layers[layer].mlp
    block.shared_experts.down_proj.weight.data[0, 0] = INF
    store = made(model, tmp_path / "shared")
    assert f"first in layer {layer}: output of L{layer}S0 at {len(store.tokens)} tokens" in said(store.nonfinite)
    supers: Any = super_experts(store).frame
    row = supers[supers["is_shared"] & (supers["layer"] == layer)].iloc[0]
    assert (row["n"], row["flags"]) == (0, "not finite")

    block.shared_experts.down_proj.weight.data[0, 0] = 0.0
    block.gate.weight.data[2, 0] = NAN
    store = made(model, tmp_path / "router", keep={"norms", "residual", "logits"})
    assert f"first in layer {layer}: router logit of L{layer}E2 at {len(store.tokens)} tokens" in said(store.nonfinite)

    block.gate.weight.data[2, 0] = 0.0
    token = int(store.tokens["token_id"].iloc[-1])
    model.hf.model.embed_tokens.weight.data[token, 0] = NAN
    store = made(model, tmp_path / "embedding")
    n = int((store.tokens["token_id"] == token).sum())
    assert f"first in the embeddings: residual at {n} tokens" in said(store.nonfinite)


def test_a_float16_overflow_is_one_of_them(tmp_path: Path) -> None:
    """65504 is the largest half: finite weights overflow where an expert is scaled up."""
    model = families.build("mixtral", "float16")
    reference.experts_of(model.hf, 1).down_proj.data[2] *= 60_000
    store = made(model, tmp_path / "store")
    assert "first in layer 1: output of L1E2 at " in said(store.nonfinite)


def test_counts_survive_a_killed_capture(olmoe: Any, tmp_path: Path, last_layer: Store) -> None:
    """Counts belong to shards: a store that lost its manifest and a shard goes on, and counts nothing twice."""
    copy = tmp_path / "copy"
    shutil.copytree(last_layer.path, copy)
    (copy / "manifest.json").unlink()
    assert len(list((copy / "shards").glob("*.json"))) > 1
    (copy / "shards" / "00000.json").unlink()
    with broken(olmoe, 2, 15, NAN):
        resumed = made(olmoe, copy)
    assert_same_content(resumed, last_layer)
    assert resumed.nonfinite["n_tokens"].sum() == last_layer.nonfinite["n_tokens"].sum() > 0


def without_counts(store: Store, into: Path) -> Store:
    """The same store as an older version wrote it."""
    shutil.copytree(store.path, into)
    shutil.rmtree(into / "nonfinite")
    manifest = json.loads((into / "manifest.json").read_text())
    for shard in manifest["shards"]:
        del shard["finite_checked"]
        shard["files"] = [file for file in shard["files"] if file["table"] != "nonfinite"]
    del manifest["rows"]["nonfinite"]
    del manifest["sha256"]
    (into / "manifest.json").write_text(json.dumps(sealed(into, manifest)))
    return open_store(into)


def test_an_older_store_opens_and_its_probes_look_for_themselves(last_layer: Store, tmp_path: Path) -> None:
    old = without_counts(last_layer, tmp_path / "old")
    assert old.nonfinite.empty
    assert old.info()["nonfinite"] is None, "nobody looked"
    found = super_experts(old)
    assert found.flagged("not finite") == (ExpertRef(2, 15),)
    assert any("output of L2E15 at " in note for note in found.notes)
    assert usage(old).flagged("not finite") == (ExpertRef(2, 15),)


# ---- probes


def test_probes_leave_such_values_out_and_say_so(olmoe: Any, last_layer: Store, tmp_path: Path) -> None:
    sound = made(olmoe, tmp_path / "sound")
    n = sum(map(len, who_selects(olmoe, 2, 15, PROMPTS).values()))
    ours, theirs = (super_experts(s).frame.set_index(["layer", "expert"]).sort_index() for s in (last_layer, sound))
    assert (ours["n"][2, 15], ours["flags"][2, 15]) == (0, "not finite")
    assert theirs["n"][2, 15] == n
    assert np.isnan(ours["score"][2, 15])
    rest = ours.index != (2, 15)
    assert ours["score"][rest].tolist() == theirs["score"][rest].tolist(), "nobody else's maximum moves"
    assert ours["n"][rest].tolist() == theirs["n"][rest].tolist()
    for scores in (
        super_experts(last_layer),
        super_experts(last_layer, "repository_first_row"),
        usage(last_layer),
        ftri(last_layer, "a", "b", n_permutations=20, n_bootstrap=20),
        contrast(last_layer, "a", "b", n_permutations=20, n_bootstrap=20),
    ):
        assert scores.flagged("not finite") == (ExpertRef(2, 15),)
        assert any(f"output of L2E15 at {n} tokens" in note for note in scores.notes), scores.notes
        assert np.isfinite(scores.frame["score"].dropna()).all()


def test_weights_that_are_not_finite_are_no_part_of_a_mean(tmp_path: Path) -> None:
    """Two tokens; the second's weight in layer 1 is infinite: it is not read where weights are."""
    shape, tables = anatomy(n_layers=3, n_experts=3, top_k=1), {}
    keys = [("p", 0, 0), ("p", 0, 1), ("q", 0, 0)]
    weights = {("p", 0, 0): 0.25, ("p", 0, 1): INF, ("q", 0, 0): 0.5}
    frame = random_tables()["tokens"].iloc[:0]
    tables["prompts"] = random_tables()["prompts"].iloc[:2].assign(prompt_id=["p", "q"], n_tokens=[2, 1])
    tables["tokens"] = frame.reindex(range(3)).assign(
        prompt_id=[k[0] for k in keys],
        sample=0,
        position=[k[2] for k in keys],
        token_id=1,
        role="user",
        generated=False,
    )
    slots = [(*key, layer, 0, 1, weights[key] if layer == 1 else 1.0) for layer in (1, 2) for key in keys]
    names = ["prompt_id", "sample", "position", "layer", "slot", "expert", "weight"]
    tables["slots"] = type(frame)(slots, columns=names)
    store = write_store(tmp_path / "store", shape, tables)
    mean = usage(store, measure="weight", n_bootstrap=0).frame.set_index(["layer", "expert"])
    assert mean["score"][1, 1] == pytest.approx((0.25 + 0.5) / 2)
    assert mean["n"][1, 1] == 2
    assert routing_entropy(store).frame["token_entropy_bits"].tolist() == [0, 0]


def test_nothing_changed_is_not_what_a_nan_says() -> None:
    """1 - cosine of a residual and a sum: known values, and NaN for what has no cosine."""
    before = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0], [1.0, NAN], [1.0, 0.0], [INF, 0.0]])
    routed = torch.tensor([[0.0, 1.0], [0.0, 0.0], [1.0, 0.0], [1.0, 0.0], [NAN, 0.0], [1.0, 0.0]])
    found = routed_change(before, routed)
    assert found[:3].tolist() == pytest.approx([1 - 0.5**0.5, 0, 0])
    assert found[3:].isnan().all()


# ---- compare


@pytest.mark.parametrize(("layer", "expert", "value"), [(0, 5, NAN), (1, 2, INF), (2, 15, -INF)])
def test_compare_counts_names_and_gives_null(olmoe: Any, layer: int, expert: int, value: float) -> None:
    with broken(olmoe, layer, expert, value):
        report = compare(
            olmoe, PROMPTS, Plan.off("L1E0"), controls=1, progress=False, max_new_tokens=4, metrics="length"
        )
    said = [note for note in report.notes if "Next-token logits are not finite" in note]
    assert [note.split(" answers")[0].split()[-1] for note in said][:2] == ["base", "steered"]
    assert all(f"first in layer {layer}: output of L{layer}E{expert} at " in note for note in said)
    row = report.metrics.iloc[0]
    count = int(said[0].split(" for ")[1].split()[0])
    assert row["n"] <= len(PROMPTS) - count
    if row["n"] == 0:
        assert np.isnan([row["base"], row["steered"], row["difference"], row["low"], row["high"]]).all()
        assert json.loads(report.to_json())["metrics"][0]["base"] is None
    assert report.divergence["kl_first_nats"].isna().any()


def test_compare_of_a_sound_model_that_steers_through_a_broken_expert(olmoe: Any) -> None:
    """The base never meets the expert; forced on it, every answer is broken, and only the steered arm is named."""
    with broken(olmoe, 2, 15, NAN):
        plan = Plan.force("L2E15")
        spared = [p for p in PROMPTS if not who_selects(olmoe, 2, 15, [p])]
        report = compare(olmoe, spared or PROMPTS, plan, controls=0, progress=False, max_new_tokens=1, metrics="length")
    names = [note for note in report.notes if "logits are not finite" in note]
    assert f"for {len(report.responses)} of {len(report.responses)} steered answers" in names[-1]
    assert "output of L2E15" in names[-1]
    assert report.metrics["n"].tolist() == [0]


def test_a_broken_head_is_no_layers_doing(olmoe: Any) -> None:
    head = olmoe.hf.lm_head.weight.data
    sound = head[7, 0].clone()
    head[7, 0] = NAN
    try:
        report = compare(olmoe, PROMPTS[:2], Plan.off("L1E0"), controls=0, progress=False, max_new_tokens=2)
    finally:
        head[7, 0] = sound
    assert "not finite for 2 of 2 base answers" in report.notes[0]
    assert "the head above the last layer" in report.notes[0]
    assert np.isnan(report.metrics["base"]).all()


def test_minus_infinity_forbids_a_token_and_breaks_nothing(olmoe: Any) -> None:
    """A bias of -inf on the head's token: next-token logits of -inf are an answer, and KL has a value."""
    hook = olmoe.hf.lm_head.register_forward_hook(lambda m, args, out: out.index_fill(-1, torch.tensor([5, 9]), -INF))
    try:
        report = compare(olmoe, PROMPTS[:2], Plan.off("L1E0,L2E3"), controls=0, progress=False, max_new_tokens=3)
    finally:
        hook.remove()
    assert not [note for note in report.notes if "finite" in note]
    assert np.isfinite(report.divergence["kl_first_nats"]).all()


# ---- the command line


def test_the_command_line_says_it(last_layer: Store) -> None:
    from workbench_app.cli import app

    run = CliRunner().invoke
    checked = run(app, ["store", "check", str(last_layer.path)])
    assert checked.exit_code == 1
    assert "output of L2E15" in checked.output
    assert "output of L2E15" in run(app, ["store", "info", str(last_layer.path)]).output
    assert "L2E15" in json.loads(run(app, ["store", "info", str(last_layer.path), "--json"]).stdout)["nonfinite"]


def test_a_shared_expert_that_is_broken_from_the_start_is_one_sentence() -> None:
    model = families.build("qwen2_moe")
    layer = model.anatomy.moe_layers[0]
    model.hf.model.layers[layer].mlp.shared_expert.down_proj.weight.data[0, 0] = float("nan")
    fresh = copy.deepcopy(model.hf)
    with pytest.raises(
        WorkbenchError, match=rf"Layer {layer} .* is not finite on random tokens, so nothing can be measured"
    ):
        load(fresh, model.tokenizer)
