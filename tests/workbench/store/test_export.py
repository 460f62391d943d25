"""A store as arrays: against its own tables, against TransformerLens's cache, and through files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support import families
from tests.support.stores import random_store
from tests.test_imports import modules_after
from workbench import Plan, WorkbenchError, capture
from workbench.store import Store

PROMPTS = ["what happened", "calculate 4 + 7"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: Any) -> Store:
    into = tmp_path_factory.mktemp("export") / "store"
    model = families.get("deepseek_v3")
    return capture(model, PROMPTS, into, keep={"norms", "residual", "logits"}, generate=3, progress=False)


def test_every_number_is_the_tables_own(store: Store) -> None:
    arrays, tokens = store.export(), store.tokens
    assert isinstance(arrays, dict)
    keys = tokens[["prompt_id", "sample", "position"]].itertuples(index=False, name=None)
    where = {key: n for n, key in enumerate(keys)}
    seen = dict.fromkeys(arrays, 0)
    for row in store.table("slots").itertuples():
        if row.slot >= 0:
            n, name = where[row.prompt_id, row.sample, row.position], f"blocks.{row.layer}.mlp"
            assert arrays[f"{name}.hook_expert_indices"][n, row.slot] == row.expert
            assert arrays[f"{name}.hook_expert_weights"][n, row.expert] == np.float32(row.weight)
            assert arrays[f"{name}.output_l2"][n, row.slot] == np.float32(row.output_l2)
            assert arrays[f"{name}.output_argmax"][n, row.slot] == row.output_argmax
            seen[f"{name}.hook_expert_weights"] += 1
    for row in store.table("residual").itertuples():
        n = where[row.prompt_id, row.sample, row.position]
        assert arrays[f"blocks.{row.layer}.resid_post.max_abs"][n] == np.float32(row.max_abs)
    for row in store.table("logits").itertuples():
        n = where[row.prompt_id, row.sample, row.position]
        assert arrays[f"blocks.{row.layer}.mlp.gate.hook_out"][n].tolist() == list(row.router_logits)
    for name, n in seen.items():  # and nothing but them
        if name.endswith("hook_expert_weights"):
            assert (arrays[name] != 0).sum() == n
    last = tokens.groupby(["prompt_id", "sample"], observed=True)["position"].idxmax()
    layer = store.layers[0]
    assert (arrays[f"blocks.{layer}.mlp.hook_expert_indices"][last] == -1).all(), "the last token was never forwarded"
    assert np.isnan(arrays[f"blocks.{layer}.mlp.output_l2"][last]).all()
    assert "blocks.-1.resid_post.routed_change" not in arrays
    assert arrays["tokens"].tolist() == tokens["token_id"].tolist()


def test_files_hold_the_same(store: Store, tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.numpy import load_file

    arrays, path = store.export(), store.export(tmp_path / "s.safetensors")
    assert isinstance(arrays, dict)
    found = load_file(path)
    with safe_open(path, "numpy") as file:
        assert file.metadata()["fingerprint"] == store.anatomy.fingerprint
    with np.load(store.export(tmp_path / "s.npz")) as zipped:
        assert str(zipped["steering"]) == "nothing"
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)
            np.testing.assert_array_equal(zipped[name], array)
    tensors = store.export("torch")
    assert all(torch.equal(t.nan_to_num(), torch.from_numpy(arrays[n]).nan_to_num()) for n, t in tensors.items())


def test_a_file_says_which_model_under_which_plan_and_which_prompts(tmp_path: Path) -> None:
    from safetensors import safe_open

    model, plan = families.get("olmoe"), Plan.off("L0E3") | Plan.scale("L1E4", 2.0)
    steered = capture(model, ["hello", "there"], tmp_path / "steered", plan=plan, progress=False)
    about = {
        "model": "tiny/olmoe",
        "fingerprint": model.anatomy.fingerprint,
        "steering": "off L0E3; scale L1E4=2",
        "prompt_ids": '["p00000", "p00001"]',
    }
    with np.load(steered.export(tmp_path / "s.npz")) as zipped:
        assert {name: str(zipped[name]) for name in about} == about
    with safe_open(steered.export(tmp_path / "s.safetensors"), "numpy") as file:
        assert file.metadata() == about


def test_what_was_not_kept_is_not_there(tmp_path: Path) -> None:
    store = random_store(tmp_path / "s", n_prompts=3, samples=2, n_shared=1)
    arrays = store.export()
    assert {n.split(".")[-1] for n in arrays} == {
        *("tokens", "prompt", "sample", "position"),
        *("hook_expert_indices", "hook_expert_weights"),
    }
    one = store.export(prompt=store.prompt_ids[1], sample=1)
    assert set(one["prompt"]) == {1}
    assert set(one["sample"]) == {1}
    assert len(one["tokens"]) == ((arrays["prompt"] == 1) & (arrays["sample"] == 1)).sum() > 0


def test_wrong_requests_are_one_sentence(store: Store, tmp_path: Path) -> None:
    with pytest.raises(WorkbenchError, match="neither numpy nor torch"):
        store.export(tmp_path / "x.pickle")
    with pytest.raises(WorkbenchError, match="no sample 0 of a prompt 'nobody'"):
        store.export(prompt="nobody")
    for name in ("x.npz", "x.safetensors"):
        with pytest.raises(WorkbenchError, match=r"There is no folder .*nowhere"):
            store.export(tmp_path / "nowhere" / name)
    with pytest.raises(WorkbenchError, match="not a NoneType"):
        store.export(None)  # pyright: ignore[reportArgumentType]


def test_numpy_needs_no_torch(store: Store) -> None:
    code = f"import workbench; workbench.open_store({str(store.path)!r}).export()"
    assert "torch" not in modules_after(code)


@pytest.mark.parametrize("name", ["mixtral", "qwen3_moe", "gpt_oss"])
@torch.no_grad()
def test_one_prompt_is_what_run_with_cache_holds(name: str, tmp_path: Path) -> None:
    pytest.importorskip("transformer_lens", reason="the extra 'interop' is not installed (TransformerLens)")
    from tests.workbench.model.test_wrapped import bridged

    bridge, model = bridged(name)
    store = capture(model, PROMPTS, tmp_path / "s", keep={"logits"}, progress=False)
    for prompt in store.prompt_ids:
        exported = store.export("torch", prompt=prompt)
        assert isinstance(exported, dict)
        _, cache = bridge.run_with_cache(exported["tokens"][None])
        compared = [n for n in exported if "hook_" in n]
        assert len(compared) == 3 * len(store.layers)
        for hook in compared:
            torch.testing.assert_close(exported[hook], cache[hook], rtol=1e-4, atol=1e-5)
