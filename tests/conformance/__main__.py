"""`python -m tests.conformance`: runs every check on every family, writes data/conformance.json and tests/conformance.md.

With names of families it runs those, and keeps what was found of the others.
"""

import json
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
import transformers

from tests.conformance.checks.agreement import check_agreement
from tests.conformance.checks.by_name import check, why_not
from tests.conformance.checks.case import REFUSED, SUPPORTED, case
from tests.conformance.checks.edited import check_nothing
from tests.conformance.survey import LEFT_OUT
from workbench import WorkbenchError, load
from workbench.anatomy.anatomy import CAPABILITIES

ROOT = Path(__file__).parents[2]
JSON, PAGE = ROOT / "data" / "conformance.json", ROOT / "tests" / "conformance.md"


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
    before = {} if set(chosen) >= set(SUPPORTED) else json.loads(JSON.read_text(encoding="utf-8"))["families"]
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


def page(found: dict[str, Any]) -> str:
    """The Markdown of `tests/conformance.md`."""
    families, reasons = found["families"], list[str]()
    head = ["family", *(c.replace("_", " ") for c in CAPABILITIES), "padding, decoding"]
    rows = [_row(name, entry, reasons) for name, entry in families.items()]
    notes = [f"- `{n}` ({e['class']}): {'; '.join(e['rules'])}{_notes(e)}" for n, e in families.items()]
    lines = [
        "# Conformance",
        "",
        f"{len(families)} MoE families of transformers {found['transformers']}, each as a tiny random model of its real classes,",
        "in fp32 and bf16. Made by `python -m tests.conformance`; the same checks are the tests in `tests/conformance/`.",
        "A number is the reason for a no, below. Padding and decoding: alone, padded on either side, decoded with a cache, a",
        "token gets what the plan says for its router's own logits; the ways agree where those of the bare model do.",
        "",
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
        *rows,
        "",
        "## Reasons",
        "",
        *(f"{i + 1}. {reason}" for i, reason in enumerate(reasons)),
        "",
        "## Refused by load",
        "",
        *(f"- `{family}`: {reason}" for family, reason in found["refused"].items()),
        "",
        "## Not built",
        "",
        *(f"- `{family}`: {reason}" for family, reason in found["left_out"].items()),
        "",
        "## Routing",
        "",
        *notes,
        "",
    ]
    return "\n".join(lines)


def _row(name: str, entry: dict[str, Any], reasons: list[str]) -> str:
    cells = [entry["no"].get(c) for c in CAPABILITIES] + [entry["padding_and_decoding"]]
    return f"| {name} | {' | '.join(_cell(reason, reasons) for reason in cells)} |"


def _cell(reason: str | None, reasons: list[str]) -> str:
    if reason is None:
        return "yes"
    if reason not in reasons:
        reasons.append(reason)
    return f"no ({reasons.index(reason) + 1})"


def _notes(entry: dict[str, Any]) -> str:
    return f". {'; '.join(entry['notes'])}" if entry["notes"] else ""


if __name__ == "__main__":
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    JSON.write_text(json.dumps(everything(sys.argv[1:] or SUPPORTED), indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(json.loads(JSON.read_text(encoding="utf-8"))), encoding="utf-8")
