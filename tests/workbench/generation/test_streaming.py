"""An answer made token by token is the answer that generating gives, and steers nobody else."""

import threading

import pytest
import torch

from tests.support import families
from workbench import Plan, WorkbenchError, compare, read_prompts
from workbench.answering import decode, stream
from workbench.responses import length
from workbench.routing import Dose

ASKED = read_prompts([{"id": "a", "messages": [{"role": "user", "content": "what happened in 1957 in Banke?"}]}])


def plan_for(model):
    layer = families.moe_layer(model)
    return Plan.off([(layer, 1), (layer, 2)])


def text_of(model, tokens):
    return decode(model, [t.chosen.id for t in tokens if not t.is_end])


@pytest.mark.parametrize("name", families.slow(families.MODELS, families.QUICK))
@pytest.mark.parametrize("steer", [False, True])
def test_the_stream_is_the_answer_that_compare_gives(name, steer):
    model = families.get(name)
    plan = plan_for(model)
    found = compare(model, ASKED, plan, metrics={"length": length}, controls=0, max_new_tokens=12).responses.iloc[0]
    dose = Dose()
    tokens = list(stream(model, ASKED, plan if steer else None, max_new_tokens=12, dose=dose if steer else None))
    assert text_of(model, tokens) == found["steered" if steer else "base"]
    assert len(tokens) <= 12
    if steer:
        assert dose.counts().tokens > 0


def test_each_token_has_its_routing_and_its_alternatives():
    model = families.get("demo")
    plan = Plan.off([(1, e) for e in range(8)])
    for token in stream(model, ASKED, plan, max_new_tokens=6, alternatives=5):
        assert set(token.routing) == set(model.anatomy.moe_layers)
        assert all(len(slots) == model.anatomy.layer(n).top_k for n, slots in token.routing.items())
        assert not {e for e, _ in token.routing[1]} & set(range(8))
        probabilities = [c.probability for c in token.alternatives]
        assert probabilities == sorted(probabilities, reverse=True)
        assert len(probabilities) == 5
        assert 0 < sum(probabilities) <= 1 + 1e-6
        assert token.chosen == token.alternatives[0]


def test_a_token_that_the_generation_config_would_have_is_not_taken_for_the_likeliest():
    model = families.build("olmoe")
    asked = read_prompts(["once upon"])
    usual = next(stream(model, asked, max_new_tokens=1, alternatives=3))
    model.hf.generation_config.suppress_tokens = [c.id for c in usual.alternatives]
    found = next(stream(model, asked, max_new_tokens=1, alternatives=3))
    with torch.no_grad():
        logits = model.hf(torch.tensor([model.tokenizer("once upon")["input_ids"]])).logits[0, -1]
    best = logits.argsort(descending=True)[:4].tolist()
    assert [c.id for c in found.alternatives] == [c.id for c in usual.alternatives] == best[:3]
    assert found.chosen.id == best[3]
    assert found.chosen.text == model.tokenizer.decode([best[3]])
    assert found.chosen.probability == pytest.approx(float(logits.softmax(-1)[best[3]]), rel=1e-4)


def test_the_routing_is_that_of_the_forward_that_made_the_token():
    model = families.get("demo")
    from workbench.answering import encode_all
    from workbench.hooks import recording

    tokens = list(stream(model, ASKED, max_new_tokens=4))
    ids = encode_all(model, ASKED, 4)[0]
    whole = torch.tensor([[*ids, *(t.chosen.id for t in tokens[:-1])]])
    with recording(model, keep=()) as recorder, torch.no_grad():
        model.hf(input_ids=whole, use_cache=False)
    layers = recorder.take().layers
    for i, token in enumerate(tokens):
        row = len(ids) - 1 + i
        for n, slots in token.routing.items():
            assert {e for e, _ in slots} == set(layers[n].index[row].tolist())


def test_streams_take_turns_without_steering_each_other_or_the_caller():
    model = families.get("demo")
    plans = [None, plan_for(model), Plan.off("L2E8,L2E20")]
    alone = [[t.chosen.id for t in stream(model, ASKED, p, max_new_tokens=16)] for p in plans]
    assert len({tuple(a) for a in alone}) > 1
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        before = model.hf(input_ids=ids).logits
        running = [stream(model, ASKED, p, max_new_tokens=16) for p in plans]
        found = [[] for _ in plans]
        for _ in range(16):
            for tokens, one in zip(found, running, strict=True):
                token = next(one, None)
                tokens += [token.chosen.id] if token else []
            assert torch.equal(model.hf(input_ids=ids).logits, before)
    assert found == alone


def test_closing_a_stream_leaves_the_model_as_it_was():
    model = families.get("demo")
    one = stream(model, ASKED, Plan.off("L2E8"), max_new_tokens=16)
    next(one)
    one.close()
    hooks = [h for m in model.hf.modules() for h in (*m._forward_hooks.values(), *m._forward_pre_hooks.values())]
    assert not hooks
    assert torch.is_grad_enabled()


def test_a_stream_may_begin_in_one_thread_and_end_in_another():
    model = families.get("demo")
    alone = [t.chosen.id for t in stream(model, ASKED, Plan.off("L2E8"), max_new_tokens=8)]
    one = stream(model, ASKED, Plan.off("L2E8"), max_new_tokens=8)
    found = [next(one).chosen.id]
    thread = threading.Thread(target=lambda: found.extend(t.chosen.id for t in one))
    thread.start()
    thread.join()
    assert found == alone


def test_what_cannot_be_done_is_one_sentence():
    model = families.get("demo")
    with pytest.raises(WorkbenchError, match="takes 512"):
        next(stream(model, ASKED, max_new_tokens=600))
    with pytest.raises(WorkbenchError, match="Layer 9 does not exist"):
        next(stream(model, ASKED, Plan.off("L9E0")))
