"""Every family keeps the design's promises: anatomy, capture, the seven contracts, against an oracle that knows no workbench."""

import json

import pytest

from docs.families import FOUND as WRITTEN
from tests.conformance.checks import by_name, edited, recorded
from tests.conformance.checks.agreement import check_agreement
from tests.conformance.checks.by_name import CAPTURED, EDITS
from tests.conformance.checks.case import SUPPORTED
from tests.support import families

QUICK = ("mixtral", "zaya")
EVERY = families.slow(SUPPORTED, QUICK)
DTYPES = ("float32", "bfloat16")
FOUND = json.loads(WRITTEN.read_text(encoding="utf-8"))["families"]


def test_at_least_fifty_families() -> None:
    assert len(SUPPORTED) >= 50


@pytest.mark.parametrize("family", EVERY)
def test_anatomy(family: str) -> None:
    recorded.check_anatomy(family)


@pytest.mark.parametrize("capability", CAPTURED)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", EVERY)
def test_capture(family: str, dtype: str, capability: str) -> None:
    by_name.check(family, dtype, capability)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", EVERY)
def test_nothing_active_changes_nothing(family: str, dtype: str) -> None:
    edited.check_nothing(family, dtype)


@pytest.mark.parametrize("kind", EDITS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", EVERY)
def test_edit(family: str, dtype: str, kind: str) -> None:
    by_name.check(family, dtype, kind)


@pytest.mark.parametrize("family", EVERY)
def test_threads_do_not_see_each_other(family: str) -> None:
    edited.check_threads(family)


@pytest.mark.parametrize("family", EVERY)
def test_impossible_plans_are_refused(family: str) -> None:
    edited.check_refusals(family)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", EVERY)
def test_padding_and_decoding_agree(family: str, dtype: str) -> None:
    assert check_agreement(family, dtype) == FOUND[family]["padding_and_decoding"]
