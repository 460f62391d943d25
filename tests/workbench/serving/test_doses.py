"""What plans changed in requests by name: each position once, whatever was forwarded again, cached or shared by a name."""

import numpy as np
import torch

from workbench import Plan
from workbench.serving.doses import Doses
from workbench.serving.plugin import Settings
from workbench.serving.steps import Asked, Span, Steps

CHANGED, EMPTIED = torch.tensor([0, 2, 1, 0, 4]), torch.tensor([0, 0, 1, 0, 0])


def span(request: str, row: int, first: int, n: int) -> Span:
    return Span(request, row, np.arange(first, first + n))


def test_requests_of_one_name_are_one_and_the_cached_part_is_told_apart() -> None:
    doses = Doses()
    doses.count([span("a", 0, 0, 2), span("b", 2, 7, 2), span("c", 4, 0, 1)], ["x", "x", ""], CHANGED, EMPTIED)
    assert doses.take("x") == {
        **{"tokens": 4, "tokens_changed": 2, "slots_changed": 3, "tokens_emptied": 1, "tokens_cached": 7},
    }
    assert doses.counts == {}


def test_what_is_forwarded_again_after_preemption_counts_once() -> None:
    doses = Doses()
    doses.count([span("a", 0, 0, 3)], ["x"], CHANGED, EMPTIED)
    doses.count([span("a", 0, 0, 5)], ["x"], CHANGED, EMPTIED)
    assert doses.take("x")["slots_changed"] == 3 + 4


def test_nothing_is_left_of_requests_that_ended_and_were_taken() -> None:
    doses = Doses()
    doses.count([span("a", 0, 0, 3)], ["x"], CHANGED, EMPTIED)
    doses.end("a")
    doses.take("x")
    assert (doses.counts, doses.handed, doses.failed) == ({}, {}, {})
    assert doses.take("never")["tokens"] == 0


def test_a_named_request_that_finds_no_row_says_so_and_the_others_go_on() -> None:
    steps = Steps(None, Settings(rows=3), 8, torch.device("cpu"), is_eager=False)
    steps.begin("one", Asked(Plan.off("L1E1"), 3, name="x"))
    two = Plan.off("L1E2", phase="prompt") | Plan.off("L1E3", phase="generated")
    steps.begin("two", Asked(two, 3, name="y"))
    assert steps.ledger.users == {1: 1}, "the row that was free is given back, since a part of a plan is none"
    assert "failed" not in steps.doses.take("x")
    assert "rows for edits are in use" in steps.doses.take("y")["failed"]
    steps.end(["one", "two"])
    assert steps.ledger.users == {}
