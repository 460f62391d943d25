"""Directions as words: what the head really says of them, whose rows and columns they are, what is refused."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from tests.support.families import build, get
from workbench import capture, load
from workbench.errors import WorkbenchError
from workbench.loading import tiny_tokenizer
from workbench.model import MoEModel
from workbench.parameters import N_WORDS, check_parameters, directions, n_directions

TEXTS = [{"id": "a", "text": "a few words"}]


def halves(model: MoEModel, layer: int, expert: int) -> dict[str, torch.Tensor]:
    """gate, up and down of one expert [neurons, hidden], from the state dict by name, as transformers documents its layouts."""
    at = next(n for n in model.hf.state_dict() if f"layers.{layer}." in n and n.endswith("gate_up_proj"))
    into = model.hf.state_dict()[at][expert].float()
    down = model.hf.state_dict()[at.replace("gate_up_proj", "down_proj")][expert].float()
    if model.hf.config.model_type == "gpt_oss":  # [hidden, gate and up in turn], [neurons, hidden]
        return {"gate": into[:, ::2].T, "read": into[:, 1::2].T, "write": down}
    middle = into.shape[0] // 2
    return {"gate": into[:middle], "read": into[middle:], "write": down.T}


def rows(frame: pd.DataFrame, layer: int, expert: int, side: str) -> pd.DataFrame:
    own = frame[(frame["layer"] == layer) & (frame["expert"] == expert) & (frame["side"] == side)]
    return own[own["neuron"].notna()].sort_values("neuron")


@pytest.mark.parametrize("name", ["mixtral", "deepseek_v3", "gpt_oss"])
def test_every_side_is_its_own_weights_times_the_head(name: str) -> None:
    model = get(name)
    layer = model.anatomy.moe_layers[-1]
    frame, head = directions(model, [layer]), model.hf.get_output_embeddings().weight.float()
    gain = model.runtime.layout.base.norm.weight.float()
    for side, vectors in halves(model, layer, 1).items():
        logits = (vectors * gain if side == "write" else vectors) @ head.T
        own = rows(frame, layer, 1, side)
        assert own["neuron"].tolist() == list(range(len(vectors)))
        best = logits.topk(N_WORDS, dim=1).values.detach().numpy()
        np.testing.assert_allclose(np.stack(own["logits"]), best, atol=1e-5)
        picked = logits.gather(1, torch.tensor(np.stack(own["token_ids"]))).detach().numpy()
        np.testing.assert_allclose(picked, best, atol=1e-5)
        np.testing.assert_allclose(own["share"], logits.softmax(1).max(1).values.detach().numpy(), atol=1e-6)


def test_a_vector_that_is_all_of_the_stream_says_the_words_that_it_writes() -> None:
    """Not by the folded gain: by the model's own last norm and head."""
    model = build("olmoe")
    layer = model.anatomy.moe_layers[0]
    with torch.no_grad():
        model.runtime.layout.base.norm.weight.mul_(torch.linspace(0.2, 3, model.anatomy.hidden_size))
        vectors = 1e4 * halves(model, layer, 0)["write"]
        said = model.hf.get_output_embeddings()(model.runtime.layout.base.norm(vectors)).argmax(1).tolist()
    own = rows(directions(model, [layer]), layer, 0, "write")
    assert [ids[0] for ids in own["token_ids"]] == said


def test_an_expert_reads_its_router_s_row_and_writes_most_of_what_its_neurons_write() -> None:
    hf = build("mixtral").hf
    with torch.no_grad():  # its neurons write along one word's vector, for this word and against it, mostly for
        down = hf.model.layers[0].mlp.experts.down_proj[2]
        word = hf.lm_head.weight[7] / hf.lm_head.weight[7].norm()
        down.copy_(torch.outer(word, torch.tensor([1.0, 1.0, -0.5] * down.shape[1])[: down.shape[1]]))
        hf.lm_head.weight[7] *= 3
        hf.model.layers[0].mlp.gate.weight[2] = -hf.lm_head.weight[9]
        hf.lm_head.weight[9] *= -3
    frame = directions(load(hf, tiny_tokenizer()), [0])
    whole = frame[(frame["expert"] == 2) & frame["neuron"].isna()].set_index("side")
    assert [whole.loc[side, "token_ids"][0] for side in ("write", "read")] == [7, 9]
    assert whole.loc["write", "words"][0] == tiny_tokenizer().decode([7])


def test_neurons_keep_their_numbers_in_portions() -> None:
    model = get("mixtral")
    whole = directions(model, [0])
    parts = directions(model, [0], cells=5 * len(model.hf.get_output_embeddings().weight))
    assert parts["neuron"].equals(whole["neuron"])
    assert [ids[0] for ids in parts["token_ids"]] == [ids[0] for ids in whole["token_ids"]]


def test_a_row_for_each_direction_of_the_layers_asked_for() -> None:
    model = get("mixtral")
    last = model.anatomy.moe_layers[-1]
    frame = directions(model, [last])
    assert {*frame["layer"]} == {last}
    assert len(frame) == n_directions(model, [last])
    assert n_directions(model) == n_directions(model, [last]) * len(model.anatomy.moe_layers)


@pytest.mark.parametrize("name", ["llama4_text", "dbrx"])
def test_refused_where_nobody_says_what_is_read_and_what_is_written(name: str) -> None:
    with pytest.raises(
        WorkbenchError, match=r"does not say which weights read the stream .*; leave directions out of keep\.$"
    ):
        check_parameters(build(name), {"directions"})


def test_a_store_keeps_them_and_says_how_many_are_looked_up(tmp_path: Path) -> None:
    model, said = get("mixtral"), []
    store = capture(model, TEXTS, tmp_path / "s", keep={"directions"}, layers=[1], progress=said.append)
    expected = directions(model, [1])
    found = store.table("directions")
    assert [*map(list, found["words"])] == [*map(list, expected["words"])]
    assert found["neuron"].isna().tolist() == expected["neuron"].isna().tolist()
    assert any(f"the words of {len(expected):,} directions are looked up once" in line.message for line in said)
    assert store.check() == []
    (file,) = [file for file in store.manifest["files"] if file["table"] == "directions"]
    assert file["size_bytes"] < 100 * len(expected) + 20_000
