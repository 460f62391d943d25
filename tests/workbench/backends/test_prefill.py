"""What prompts begin with is forwarded once for all, and nothing else changes: answers, scores, phases, the dose."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from tests.conformance.checks.case import SUPPORTED
from tests.support import families
from workbench import Plan
from workbench.backends import Batch, backend_of, compiled_for, prefill
from workbench.generation import decoding_of, generated
from workbench.hooks import router
from workbench.model import MoEModel
from workbench.routing import Dose, DoseCounts

OPEN, CLOSE = ord("<") + 3, ord(">") + 3
BEGINNING = [41, 57, 33, 72, OPEN, 48, 66, 39, 51, 78, CLOSE, 44, OPEN, 63]
ROWS = [[*BEGINNING, *([90 + n, CLOSE, 70 + n, 80, 35 + n, OPEN] * 2)[: 1 + n % 7]] for n in range(10)]
READ = [n % 3 for n in range(10)]
SCOPES: dict[str, dict[str, Any]] = {
    "everywhere": {},
    "prompt": {"phase": "prompt"},
    "generated": {"phase": "generated"},
    "positions": {"positions": "2-4,11-15"},
    "span": {"span": ("<", ">")},
}
OTHER_CACHES = ("gemma4_text", "minimax", "qwen3_next", "zaya", "deepseek_v32")


class Found(NamedTuple):
    ids: list[tuple[int, ...]]
    logprobs: list[Tensor]
    dose: DoseCounts


def run(model: MoEModel, rows: Sequence[Sequence[int]], plan: Plan, dose: Dose | None = None) -> Found:
    dose, made = dose or Dose(1), []
    how = decoding_of(model, 4)
    with closing(backend_of(model).run(Batch(rows), compiled_for(model, plan), how, dose=dose)) as portions:
        made = [p.made for p in portions if p.made is not None]
    found = generated(made, len(rows))
    return Found([r.ids for r in found], [torch.tensor(r.logprobs) for r in found], dose.counts())


def plan_of(model: MoEModel, **scope: Any) -> Plan:
    """Every expert of the first layer that routes weighs half as much: no token stays as it was, wherever the scope holds."""
    layer = model.anatomy.moe_layers[0]
    return Plan.scale([(layer, e) for e in range(model.anatomy.layer(layer).n_experts)], 0.5, **scope)


@pytest.fixture
def forwarded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Tokens that went through the embedding, a number for each forward; no hook is on the model."""
    sizes, own = list[int](), nn.Embedding.forward

    def counting(self: nn.Embedding, ids: Tensor) -> Tensor:
        sizes.append(ids.numel())
        return own(self, ids)

    monkeypatch.setattr(nn.Embedding, "forward", counting)
    return sizes


@pytest.fixture(params=[False, True], ids=["together", "row by row"])
def cut(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether every row is forwarded by itself, as with experts whose copies would be large."""
    if request.param:
        monkeypatch.setattr(prefill, "COPY_BYTES", 1)
    return request.param


def check(model: MoEModel, plan: Plan) -> None:
    """All rows together give what each gives alone, and their doses add up."""
    together, alone = run(model, ROWS, plan), [run(model, [row], plan) for row in ROWS]
    assert together.ids == [one.ids[0] for one in alone]
    for found, one in zip(together.logprobs, alone, strict=True):
        assert torch.allclose(found, one.logprobs[0], atol=1e-4, rtol=0)
    assert together.dose[:5] == tuple(map(sum, zip(*(one.dose[:5] for one in alone), strict=True)))


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("name", families.slow(families.MODELS, families.QUICK))
def test_answers_and_dose_are_those_of_each_row_alone(name: str, scope: str, cut: bool) -> None:
    model = families.get(name)
    check(model, plan_of(model, **SCOPES[scope]))


@contextmanager
def in_one_forward(model: MoEModel) -> Iterator[None]:
    """A hook of a user's own is on the model, so every batch goes through it whole."""
    handle = model.hf.get_input_embeddings().register_forward_hook(lambda *_: None)
    try:
        yield
    finally:
        handle.remove()


def check_against_one_forward(model: MoEModel) -> None:
    plan = Plan.mute([(model.anatomy.moe_layers[0], e) for e in range(2)], positions="3-12")
    divided = run(model, ROWS, plan)
    with in_one_forward(model):
        whole = run(model, ROWS, plan)
    assert divided.ids == whole.ids
    for a, b in zip(divided.logprobs, whole.logprobs, strict=True):
        assert torch.allclose(a, b, atol=1e-4, rtol=0)
    assert divided.dose == whole.dose


@pytest.mark.parametrize("name", families.slow(SUPPORTED, (*OTHER_CACHES, "glm4_moe")))
def test_every_family_answers_as_in_one_forward(name: str, cut: bool) -> None:
    check_against_one_forward(families.get(name))


@pytest.mark.parametrize("name", OTHER_CACHES)
def test_a_cache_that_turns_out_to_hold_more_is_not_shared(
    name: str, cut: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefill, "promises_plain", lambda hf: True)
    check_against_one_forward(families.get(name))


@pytest.mark.parametrize("is_counting", [False, True])
def test_where_the_router_is_not_its_rule_is_said_of_all_tokens(
    is_counting: bool, cut: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(router, "unlike", lambda router, logits, own: torch.ones(len(logits), dtype=torch.bool))
    model, dose = families.get("glm4_moe"), Dose(1, is_counting)
    layer, tokens = model.anatomy.moe_layers[0], sum(map(len, ROWS))
    for _ in range(2):  # who does not count looks at the first batch alone
        run(model, ROWS, Plan.off([(layer, 1)], phase="prompt"), dose)
    assert dose.unlike.by_layer() == {layer: tokens * (1 + is_counting)}


@pytest.mark.parametrize(
    "plan", [Plan(), *({"phase": p} for p in ("prompt", "generated")), {"span": ("<", ">")}], ids=str
)
@pytest.mark.parametrize("name", ["demo", "deepseek_v3", "gemma4_text"])
def test_scores_are_those_of_each_row_alone(name: str, plan: Any, cut: bool) -> None:
    model = families.get(name)
    compiled = compiled_for(model, plan if isinstance(plan, Plan) else plan_of(model, **plan))
    backend = backend_of(model)
    together = backend.score(Batch(ROWS, read=READ), compiled)
    for row, n, found in zip(ROWS, READ, together, strict=True):
        (one,) = backend.score(Batch([row], read=[n]), compiled)
        assert torch.allclose(found[-1 - n :].exp(), one.exp(), atol=1e-5, rtol=0)


def test_what_all_rows_begin_with_is_forwarded_once(forwarded: list[int]) -> None:
    model = families.get("glm4_moe")
    run(model, ROWS, Plan())
    assert forwarded[:2] == [14, 10 * 7]
    forwarded.clear()
    backend_of(model).score(Batch(ROWS, read=[7] * 10), compiled_for(model))
    assert forwarded == [21 - 8, 10 * 8]  # what is read, and what comes before it, has columns of its own


def test_a_beginning_that_saves_little_is_forwarded_with_the_rest(forwarded: list[int]) -> None:
    run(families.get("glm4_moe"), ROWS[:4], Plan())
    assert max(forwarded) == 4 * len(ROWS[3])


def test_with_hooks_of_a_users_own_or_rotations_by_length_all_is_one_forward(forwarded: list[int]) -> None:
    model = families.build("mixtral")
    longest = max(map(len, ROWS))
    handle = model.hf.lm_head.register_forward_hook(lambda *_: None)
    run(model, ROWS, Plan())
    assert max(forwarded) == 10 * longest  # the others look at the model once more
    handle.remove()
    model.hf.config.rope_parameters = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}
    forwarded.clear()
    run(model, ROWS, Plan())
    assert max(forwarded) == 10 * longest  # the others look at the model once more
