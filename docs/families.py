"""What the conformance suite found of every MoE family, as Markdown, from `data/conformance.json`."""

import json
from pathlib import Path
from typing import Any

FOUND = Path(__file__).parent.parent / "data" / "conformance.json"
WAYS = "padding and decoding"


def families(found: dict[str, Any] | None = None) -> str:
    """Every family with its rule and what it cannot do; the reasons; what is refused whole; what is no family."""
    found = found or json.loads(FOUND.read_text(encoding="utf-8"))
    reasons: list[str] = []
    rows = [_row(name, entry, reasons) for name, entry in found["families"].items()]
    lines = [
        f"{len(rows)} families of transformers {found['transformers']}. `load` finds the rule by comparing it with the router's "
        f"own answers; a number is a reason below.",
        "",
        "| family | class | routing rule | cannot |",
        "|---|---|---|---|",
        *rows,
        "",
        "### Reasons",
        "",
        *(f"{i}. {reason}" for i, reason in enumerate(reasons, 1)),
        "",
        "### Refused by load",
        "",
        *(f"- `{family}`: {reason}" for family, reason in found["refused"].items()),
        "",
        "### No families",
        "",
        *(f"- `{family}`: {reason}" for family, reason in found["left_out"].items()),
    ]
    return "\n".join(lines)


def _row(name: str, entry: dict[str, Any], reasons: list[str]) -> str:
    refused = {what.replace("_", " "): why for what, why in entry["no"].items()}
    if entry["padding_and_decoding"] is not None:
        refused[WAYS] = entry["padding_and_decoding"]
    cannot = ", ".join(f"{what} ({_number(why, reasons)})" for what, why in refused.items())
    return f"| `{name}` | {entry['class']} | {'; '.join([*entry['rules'], *entry['notes']])} | {cannot} |"


def _number(reason: str, reasons: list[str]) -> int:
    if reason not in reasons:
        reasons.append(reason)
    return reasons.index(reason) + 1
