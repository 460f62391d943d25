"""A plan out of text that somebody sent, in a request or a URL: whatever it says, no file is opened and it is read at once.

Its numbers are finite and fit where they will be put: weights and vectors in float32, positions in 32 bits.
"""

import re
from collections import defaultdict
from math import prod

from workbench.anatomy import Anatomy, is_unversioned
from workbench.errors import WorkbenchError
from workbench.plan.edits import Edit
from workbench.plan.plan import Plan

MOST_BYTES = 64 << 10
MOST_EDITS = 10_000
MOST_RANGES = 200
"""Ranges of positions, over all edits."""
LARGEST = 3.4028234663852886e38  # of float32
LAST = 2**31 - 1  # position

_CLOSED = re.compile(r'(?:[^"]++|"(?:[^"\\]|\\.)*+")*+', re.DOTALL)  # possessive: one pass, whatever the text


def sent_plan(text: object, anatomy: Anatomy) -> Plan:
    """The plan that the text says (an edit's one-line grammar, or a plan's JSON), for this model and possible on it.

    Raises `WorkbenchError` for anything else.
    """
    whole = _whole(text)
    if whole.lstrip().startswith("{"):
        plan = Plan.from_json(whole)
    else:
        if _CLOSED.fullmatch(whole) is None:
            raise WorkbenchError('This plan opens a quote that it never closes; write a token like "a b".')
        plan = Plan.parse(whole, anatomy, files=False, most=MOST_EDITS)
    _check_numbers(plan)
    if plan.fingerprint and anatomy.identity and is_unversioned(plan.fingerprint):
        raise WorkbenchError(
            f"This plan carries a fingerprint of before they had a version ({plan.fingerprint:.40}), which cannot tell the model "
            f"that it was made on; make the plan again on {anatomy.model}."
        )
    return plan.for_model(anatomy).check(anatomy)


def _whole(text: object) -> str:
    if not isinstance(text, str):
        raise WorkbenchError(f"A plan is text, such as 'off L2E8', and a {type(text).__name__} was sent.")
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise WorkbenchError(f"This plan is no Unicode text (half a character at {error.start}).") from error
    if size > MOST_BYTES:
        raise WorkbenchError(f"This plan has {size:,} bytes, and a plan that is sent has at most {MOST_BYTES:,}.")
    return text


def _check_numbers(plan: Plan) -> None:
    if len(plan) > MOST_EDITS:
        raise WorkbenchError(f"This plan has {len(plan):,} edits, and a plan that is sent has at most {MOST_EDITS:,}.")
    ranges = [ends for scope in {edit.scope for edit in plan.edits} for ends in scope.positions]
    if len(ranges) > MOST_RANGES:
        raise WorkbenchError(
            f"This plan names {len(ranges):,} ranges of positions, and a plan that is sent at most {MOST_RANGES:,}."
        )
    if past := [end for ends in ranges for end in ends if end is not None and end > LAST]:
        raise WorkbenchError(f"Position {past[0]:.3g} is past every text; positions go up to {LAST:,}.")
    _check_sizes(plan)


def _check_sizes(plan: Plan) -> None:
    """Several scales of an expert multiply and several biases add, so it is these that have to fit."""
    by_expert = defaultdict[tuple[object, str], list[float]](list)
    for edit in plan.edits:
        by_expert[edit.expert, edit.kind] += _sizes(edit)
    for (expert, kind), sizes in by_expert.items():
        largest = prod(max(x, 1.0) for x in sizes) if kind == "scale" else sum(sizes) if kind == "bias" else max(sizes)
        if largest > LARGEST:
            raise WorkbenchError(
                f"{kind} {expert} comes to {largest:.3g}, which does not fit into float32; make it smaller."
            )


def _sizes(edit: Edit) -> list[float]:
    value = edit.value if isinstance(edit.value, tuple) else (edit.value,)
    return [abs(x) for x in value if isinstance(x, float)] or [0.0]
