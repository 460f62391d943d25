"""Attention to the first token, against transformers' own output_attentions; and the implementation afterwards."""

import numpy as np
import pytest
import torch

from tests.support import families
from tests.support.families import slow
from workbench import Plan, WorkbenchError, load, steered
from workbench.comparison import SinkShare, decay, sink_share
from workbench.comparison.sinks import sinks_of
from workbench.loading import tiny_model, tiny_tokenizer

PROMPTS = ["what happened in 1957", "calculate 4 + 7", "four words of text"]
NAMES = ("mixtral", "gpt_oss", "qwen3_moe", "deepseek_v3", "glm4_moe", "demo")


def by_hand(name: str, plan: Plan) -> np.ndarray:
    """[layers, heads] from `output_attentions`, one prompt at a time, on a model built eager."""
    model = families.get(name)
    rows = [model.tokenizer(text)["input_ids"] for text in PROMPTS]
    eager = load(model.hf.__class__._from_config(model.hf.config, attn_implementation="eager"), model.tokenizer)
    eager.hf.load_state_dict(model.hf.state_dict())
    eager = load(eager.hf, model.tokenizer)
    total, n = 0.0, 0
    for ids in rows:
        with torch.no_grad(), steered(eager, plan):
            found = eager.hf(torch.tensor([ids]), output_attentions=True, use_cache=False).attentions
        total = total + np.stack([x[0, :, 1:, 0].double().sum(-1).numpy() for x in found])
        n += len(ids) - 1
    return total / n


@pytest.mark.parametrize("name", slow(NAMES, ("mixtral", "deepseek_v3")))
def test_the_share_is_what_output_attentions_says(name):
    model = families.get(name)
    plan = Plan.off([(model.anatomy.moe_layers[0], e) for e in (0, 3)])
    for steering in (Plan(), plan):
        found = sink_share(model, PROMPTS, steering)
        np.testing.assert_allclose(found.share, by_hand(name, steering), rtol=1e-4, atol=1e-6)
    assert found.layers == tuple(range(len(model.anatomy.layers)))
    assert found.n_queries == sum(len(model.tokenizer(text)["input_ids"]) - 1 for text in PROMPTS)


def test_the_implementation_is_restored_even_after_an_error():
    model = load(tiny_model("qwen3_moe"), tiny_tokenizer())
    assert model.hf.config._attn_implementation == "sdpa", "else this test shows nothing"
    ids = families.ids(model)
    before = model.hf(ids).logits
    sink_share(model, PROMPTS)
    assert model.hf.config._attn_implementation == "sdpa"
    assert torch.equal(model.hf(ids).logits, before)
    model.hf.model.layers[1].self_attn.register_forward_hook(lambda module, args, output: (output[0], None))
    with pytest.raises(WorkbenchError, match=r"Layer 1 \(Qwen3MoeAttention\) returns no attention weights"):
        sink_share(model, PROMPTS)
    assert model.hf.config._attn_implementation == "sdpa"
    assert not any("_add" in str(h) for m in model.hf.modules() for h in m._forward_hooks.values())


def test_a_model_that_cannot_be_eager_says_so_and_stays_as_it_was(monkeypatch):
    def refuse(name):
        raise ValueError("not here")

    model = load("tiny/olmoe")
    monkeypatch.setattr(model.hf, "set_attn_implementation", refuse)
    with pytest.raises(WorkbenchError, match=r"cannot run its attention eagerly \(ValueError: not here\)"):
        sink_share(model, PROMPTS)
    assert model.hf.config._attn_implementation == "sdpa"


def test_batches_are_told_and_a_listener_that_raises_ends_it():
    model, told = load(tiny_model("qwen3_moe"), tiny_tokenizer()), []
    rows = [[1, 2, 3], [4, 5], [6, 7, 8]]
    found = sinks_of(model, rows, step=told.append)
    assert told == [1, 2]  # the two of one length together
    assert found.n_queries.tolist() == [2, 1, 2]

    def stop(n):
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        sinks_of(model, rows, step=stop)
    assert model.hf.config._attn_implementation == "sdpa"


def test_a_bridge_shows_the_same_sink():
    pytest.importorskip("transformer_lens", reason="the extra 'interop' is not installed (TransformerLens)")
    from tests.workbench.model.test_wrapped import bridged

    _, model = bridged("mixtral")
    wanted = sink_share(families.get("mixtral"), PROMPTS)
    np.testing.assert_allclose(sink_share(model, PROMPTS).share, wanted.share, rtol=1e-4, atol=1e-6)


def test_decay_is_equation_7():
    base = SinkShare((0, 2), np.array([[0.5, 0.25], [0.0, 0.4]]), 10)
    gone = SinkShare((0, 2), np.array([[0.25, 0.0], [0.3, 0.4]]), 10)
    assert decay(base, gone) == {0: 0.75, 2: 0.0}


def test_one_token_prompts_have_no_sink():
    with pytest.raises(WorkbenchError, match="0 tokens after the first"):
        sink_share(families.get("demo"), [{"id": "a", "text": "."}])
