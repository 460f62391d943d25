"""Answers made by hand: a base, a steered one, and both together in any state."""

from workbench_app.dashboard.steer.answering import Answering

from tests.app.world import SHAPE, token
from workbench import Plan
from workbench.routing import DoseCounts

PLAN = Plan.parse("off L0E1", SHAPE)


def one(view, state="done", base=(), steered=(), plan=PLAN, question="why?", number=5, **more):
    found = Answering(view.machine, question, plan, 64, list(base), list(steered), number=number, **more)
    found.state = state
    return found


class Dosed:
    def counts(self):
        return DoseCounts(4, 2, 16, 3, 0)


BASE = (token(1, "a"), token(2, "b"), token(3, "c", probability=0.125), token(0, "</s>", end=True))
STEERED = (token(1, "a"), token(9, "\ufffd"), token(3, "c"), token(4, "d\n"))
