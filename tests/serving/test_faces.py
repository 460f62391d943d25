"""`compare`, recipes and the command line on vLLM say what they say natively."""

from typing import Any

import numpy as np
import pytest

from tests.serving.support.models import engine, native, served
from workbench import Plan, compare
from workbench.answering import stream
from workbench.prompts import read_prompts

PLAN = Plan.parse("off L2E8; off L2E20")


def test_compare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Base, plan and controls go in as one batch."""
    asked = read_prompts("refusal_heldout").filter(split="heldout")[:16]
    batches = list[int]()
    own = type(engine("demo")).run_each

    def run_each(self: Any, batch: Any, plans: Any, *rest: Any, **more: Any) -> Any:
        batches.append(len({plan.plan for plan in plans}))
        return own(self, batch, plans, *rest, **more)

    monkeypatch.setattr(type(engine("demo")), "run_each", run_each)
    here, there = (compare(m, asked, PLAN, controls=2, progress=False) for m in (native("demo"), served("demo")))
    assert batches == [6]
    assert there.responses.equals(here.responses)
    assert there.metrics.drop(columns=[]).equals(here.metrics)
    assert there.controls.equals(here.controls)
    assert there.dose == here.dose
    for column in ("kl_nats", "kl_first_nats"):
        assert np.abs(there.divergence[column] - here.divergence[column]).max() < 1e-4
    assert here.changed > 0


def test_a_stream() -> None:
    asked = read_prompts("refusal_heldout").filter(split="heldout")[:1]
    for plan in (Plan(), PLAN):
        here, there = (list(stream(m, asked, plan, max_new_tokens=12)) for m in (native("demo"), served("demo")))
        assert [t.chosen.id for t in there] == [t.chosen.id for t in here]
        assert [t.text for t in there] == [t.text for t in here]
        for one, other in zip(here, there, strict=True):
            assert {n: [e for e, _ in slots] for n, slots in one.routing.items()} == {
                n: [e for e, _ in slots] for n, slots in other.routing.items()
            }
            assert [c.id for c in other.alternatives[:3]] == [c.id for c in one.alternatives[:3]]


def test_two_streams_take_turns() -> None:
    asked = read_prompts("refusal_heldout").filter(split="heldout")
    alone = ["".join(t.text for t in stream(served("demo"), asked[n : n + 1], max_new_tokens=8)) for n in (0, 1)]
    one, other = (stream(served("demo"), asked[n : n + 1], max_new_tokens=8) for n in (0, 1))
    texts = ["", ""]
    for _ in range(8):
        for n, running in enumerate((one, other)):
            texts[n] += next(running).text if len(texts[n]) < len(alone[n]) else ""
    one.close()
    assert texts == alone
    assert engine("demo").calls.room.ledger.users == {}
