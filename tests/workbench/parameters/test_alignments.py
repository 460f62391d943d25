"""Weights of two experts whatever the order of their neurons: a shuffled copy, every order tried, families, what is said."""

import sys
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import MixtralConfig, MixtralForCausalLM

from tests.support.families import build, get
from workbench import capture, load
from workbench.errors import WorkbenchError
from workbench.loading import tiny_tokenizer
from workbench.parameters import alignments, check_parameters

TEXTS = [{"id": "a", "text": "a few words"}]


def row(frame: pd.DataFrame, layer: int, i: int, j: int) -> pd.Series:
    return frame[(frame["layer"] == layer) & (frame["expert"] == i) & (frame["other_expert"] == j)].iloc[0]


@pytest.mark.parametrize("name", ["mixtral", "gpt_oss", "qwen3_moe"])
def test_a_copy_with_its_neurons_shuffled_is_the_same_expert(name: str) -> None:
    model = build(name)
    layer = model.anatomy.moe_layers[0]
    experts = model.hf.model.layers[layer].mlp.experts
    with torch.no_grad():
        into, down = experts.gate_up_proj, experts.down_proj
        if name == "gpt_oss":  # [hidden, gate and up in turn], [neurons, hidden]
            order = torch.randperm(down.shape[1], generator=torch.Generator().manual_seed(0))
            into[1] = into[0].unflatten(-1, (-1, 2))[:, order].flatten(-2)
            down[1] = down[0][order]
        else:
            order = torch.randperm(down.shape[2], generator=torch.Generator().manual_seed(0))
            into[1] = into[0].unflatten(0, (2, -1))[:, order].flatten(0, 1)
            down[1] = down[0][:, order]
    found = row(alignments(model, [layer]), layer, 0, 1)
    assert found["aligned"] == pytest.approx(1, abs=1e-5)
    assert abs(found["cosine"]) < 0.5
    assert found["n_neurons"] == len(order)


def test_no_order_is_better() -> None:
    torch.manual_seed(0)
    config = MixtralConfig(
        vocab_size=384, hidden_size=8, intermediate_size=4, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, num_local_experts=3, num_experts_per_tok=2, max_position_embeddings=64,
    )  # fmt: skip
    model = load(MixtralForCausalLM(config).eval(), tiny_tokenizer())
    experts, found = model.hf.model.layers[0].mlp.experts, alignments(model)

    def neurons(expert: int) -> np.ndarray:
        into, down = experts.gate_up_proj[expert].detach(), experts.down_proj[expert].detach()
        return np.hstack([into[:4].numpy(), into[4:].numpy(), down.T.numpy()]).astype(np.float64)

    assert len(found) == 3
    for i, j in ((0, 1), (0, 2), (1, 2)):
        own, other = neurons(i), neurons(j)
        size = np.linalg.norm(own) * np.linalg.norm(other)
        tried = {order: (own * other[list(order)]).sum() / size for order in permutations(range(4))}
        assert row(found, 0, i, j)["aligned"] == pytest.approx(max(tried.values()), abs=1e-6)
        assert row(found, 0, i, j)["cosine"] == pytest.approx(tried[0, 1, 2, 3], abs=1e-6)


def test_an_expert_of_zeros_has_none() -> None:
    model = build("mixtral")
    with torch.no_grad():
        for weight in (
            model.hf.model.layers[0].mlp.experts.gate_up_proj,
            model.hf.model.layers[0].mlp.experts.down_proj,
        ):
            weight[2] = 0
    found = alignments(model, [0])
    assert pd.isna(row(found, 0, 1, 2)["aligned"])
    assert pd.isna(row(found, 0, 1, 2)["cosine"])
    assert row(found, 0, 0, 1)["aligned"] > 0


def test_refused_where_nobody_says_which_weights_are_a_neuron_s() -> None:
    with pytest.raises(WorkbenchError, match="does not say which weights read the stream"):
        check_parameters(build("dbrx"), {"alignments"})


def test_a_store_keeps_them_and_says_how_many_pairs_are_matched(tmp_path: Path) -> None:
    model, said = get("mixtral"), []
    store = capture(model, TEXTS, tmp_path / "s", keep={"alignments"}, layers=[1], progress=said.append)
    found, expected = store.table("alignments"), alignments(model, [1])
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)
    pairs = model.anatomy.layer(1).n_experts * (model.anatomy.layer(1).n_experts - 1) // 2
    assert len(found) == pairs
    assert any(f"the neurons of {pairs} pairs of experts are matched once, about" in line.message for line in said)
    assert store.check() == []


def test_without_scipy_it_is_said_before_anything_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(WorkbenchError, match="match neurons by scipy, which is not installed"):
        capture(get("mixtral"), TEXTS, tmp_path / "s", keep={"alignments"}, progress=False)
    assert not (tmp_path / "s").exists()
