"""What the suite found names every family of transformers, and is what `load` says; docs/models.md is made of it."""

import json
import re

import pytest

from docs import families as families_page
from tests.conformance.__main__ import stated
from tests.conformance.checks.case import REFUSED, SUPPORTED
from tests.conformance.survey import LEFT_OUT, moe_types
from tests.support import families
from workbench import WorkbenchError, load
from workbench.loading.tiny_configs import FAMILIES

FOUND = json.loads(families_page.FOUND.read_text(encoding="utf-8"))
QUICK = ("mixtral", "deepseek_v4", "llama4_text")


def test_the_page_says_of_every_family_what_it_cannot_do_and_why() -> None:
    said = families_page.families(FOUND)
    for family, entry in FOUND["families"].items():
        (row,) = (line for line in said.splitlines() if line.startswith(f"| `{family}` |"))
        assert entry["class"] in row
        cannot = row.split("|")[4].strip()
        reasons = [*entry["no"].values(), *filter(None, [entry["padding_and_decoding"]])]
        numbers = re.findall(r"\((\d+)\)", cannot)
        assert [f"{n}. {why}" in said.splitlines() for n, why in zip(numbers, reasons, strict=True)] == [True] * len(
            reasons
        )
    assert all(reason in said for reason in [*FOUND["refused"].values(), *FOUND["left_out"].values()])


@pytest.mark.slow
def test_no_family_of_transformers_is_left_out_without_a_reason() -> None:
    assert moe_types() - set(FAMILIES) == set(LEFT_OUT)


def test_every_family_is_on_the_page() -> None:
    assert tuple(FOUND["families"]) == SUPPORTED
    assert tuple(FOUND["refused"]) == REFUSED
    assert len(SUPPORTED) >= 50


@pytest.mark.parametrize("family", families.slow(SUPPORTED, QUICK))
def test_class_rules_notes_and_reasons_are_those_that_load_gives(family: str) -> None:
    found = dict(FOUND["families"][family])
    del found["padding_and_decoding"]  # tests/conformance/test_families.py compares it, where it is measured
    assert stated(family) == found


@pytest.mark.parametrize("family", REFUSED)
def test_what_is_refused_says_why_and_what_still_works(family: str) -> None:
    with pytest.raises(WorkbenchError, match="output_router_logits still works") as said:
        load(f"tiny/{family}", device="cpu")
    assert FOUND["refused"][family] == str(said.value)
