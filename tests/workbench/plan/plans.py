"""Hypothesis strategies: any edit and any plan that the grammar can say."""

from typing import Any

from hypothesis import strategies as st

from workbench import ExpertRef, Plan, WorkbenchError
from workbench.plan import Edit, Scope
from workbench.plan.edits import KINDS, SHARED_KINDS

numbers = st.floats(allow_nan=False, allow_infinity=False, width=64)
tokens = st.text(min_size=1, max_size=6)
ranges = st.lists(
    st.tuples(st.integers(0, 99), st.none() | st.integers(1, 9)).map(
        lambda r: (r[0], None if r[1] is None else r[0] + r[1])
    ),
    max_size=3,
).map(tuple)
scopes = st.builds(Scope, st.sampled_from([None, "prompt", "generated"]), ranges, st.none() | st.tuples(tokens, tokens))


def _values(kind: str) -> st.SearchStrategy[Any]:
    if kind in ("scale", "bias"):
        return numbers
    if kind == "replace":
        return st.just("mean") | st.lists(numbers, min_size=1, max_size=3).map(tuple)
    return st.none()


@st.composite
def _edits(draw: st.DrawFn) -> Edit:
    kind = draw(st.sampled_from(KINDS))
    shared = kind in SHARED_KINDS and draw(st.booleans())
    ref = ExpertRef(draw(st.integers(0, 5)), draw(st.integers(0, 9)), shared)
    return Edit(kind, ref, draw(_values(kind)), draw(scopes))


def _plan(chosen: list[Edit]) -> Plan:
    """As many of the edits as do not contradict each other."""
    plan = Plan()
    for edit in chosen:
        try:
            plan |= Plan((edit,))
        except WorkbenchError:
            continue
    return plan


edits = _edits()
plans = st.lists(edits, max_size=6).map(_plan)
