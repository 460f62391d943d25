"""`python -m tests.conformance`: runs every check on every family and writes data/conformance.json; then docs/models.md.

With names of families it runs those, and keeps what was found of the others.
"""

import json
import sys
from collections.abc import Collection
from typing import Any

import torch
import transformers

from docs import generate
from docs.families import FOUND
from tests.conformance.checks.agreement import check_agreement
from tests.conformance.checks.by_name import check, why_not
from tests.conformance.checks.case import REFUSED, SUPPORTED, case
from tests.conformance.checks.edited import check_nothing
from tests.conformance.survey import LEFT_OUT
from workbench import WorkbenchError, load
from workbench.anatomy import CAPABILITIES


def measured(family: str) -> dict[str, Any]:
    """What holds on the family's tiny model; a promise that is broken raises."""
    for dtype in ("float32", "bfloat16"):
        check_nothing(family, dtype)
        for capability in CAPABILITIES:
            check(family, dtype, capability)
        check_agreement(family, dtype)
    return stated(family) | {"padding_and_decoding": check_agreement(family, "float32")}


def stated(family: str) -> dict[str, Any]:
    """What `load` says of the family's tiny model in fp32."""
    anatomy = case(family).model.anatomy
    return {
        "class": type(case(family).model.hf).__name__,
        "rules": sorted({str(x.rule) if x.rule else "no rule known" for x in anatomy.layers if x.is_moe}),
        "notes": sorted({note for x in anatomy.layers for note in x.notes}),
        "no": {c: reason for c in CAPABILITIES if (reason := why_not(family, c))},
    }


def refusal(family: str) -> str:
    """What `load` says."""
    try:
        load(f"tiny/{family}", device="cpu")
    except WorkbenchError as error:
        return str(error)
    raise AssertionError(f"{family} should be refused")


def everything(chosen: Collection[str]) -> dict[str, Any]:
    """All families, in their order; measured now when chosen."""
    before = {} if set(chosen) >= set(SUPPORTED) else json.loads(FOUND.read_text(encoding="utf-8"))["families"]
    families: dict[str, Any] = {}
    for family in SUPPORTED:
        families[family] = measured(family) if family in chosen else before[family]
        print(family, ", ".join(families[family]["no"]) or "everything")
    return {
        "transformers": transformers.__version__,
        "families": families,
        "refused": {family: refusal(family) for family in REFUSED},
        "left_out": LEFT_OUT,
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    FOUND.write_text(json.dumps(everything(sys.argv[1:] or SUPPORTED), indent=1) + "\n", encoding="utf-8")
    (generate.ROOT / "docs" / "models.md").write_text(generate.page("docs/models.md"), encoding="utf-8")
