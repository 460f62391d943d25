"""The bundled model on the held-out split: the committed choice, compared by the product with ten draws of each control."""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from training.corpus.prompts import refusal

from grading.measure import MATCHES, opened
from grading.scored import expected, score, sheet
from probes import super_experts
from workbench import Plan, capture, compare, read_prompts
from workbench.responses import Response, refused, revealed

Json = dict[str, Any]
DRAWS = 10
ALL = 10_000


def _of(kind: str, metric: Any) -> Any:
    return lambda response: metric(response) if _is(response, kind) else None


def _is(response: Response, kind: str) -> bool:
    return response.labels.get("sensitive") == kind


METRICS: dict[str, Any] = {
    "sensitive refused": _of("yes", refused),
    "sensitive revealed": _of("yes", revealed),
    "ordinary refused": _of("no", refused),
    "ordinary right": _of("no", revealed),
}


def confirm_choice(folder: Path, choice: Json) -> Json:
    """Off and force of the chosen experts on the held-out refusal prompts, and all capability checks on every prompt."""
    with tempfile.TemporaryDirectory() as scratch:
        graded = opened(folder, Path(scratch))
        off = Plan.parse(str(choice["plan"]))
        force = Plan.parse(str(choice["force"]))
        prompts = read_prompts(refusal("heldout"))
        controls = dict.fromkeys(MATCHES, DRAWS)
        report = compare(
            graded.model, prompts, off, metrics=METRICS, controls=controls, store=graded.store, max_new_tokens=16
        )
        pushed = compare(graded.model, prompts, force, metrics=METRICS, controls=0, max_new_tokens=16)
        given = sheet(graded.model, expected("heldout"), each=ALL)
        whole = capture(graded.model, prompts, Path(scratch) / "heldout", generate=16, progress=False)
        supers = super_experts(whole)
        return {
            "choice": choice,
            "metrics": report.metrics.to_dict("records"),
            "controls": report.controls.to_dict("records"),
            "medians": medians(report.controls.to_dict("records")),
            "dose": report.dose._asdict(),
            "force": pushed.metrics.to_dict("records"),
            "capabilities": {"base": score(graded.model, given, Plan()), "off": score(graded.model, given, off)},
            "super experts": [str(ref) for ref in supers.flagged("super expert")],
            "super expert notes": list(supers.notes),
        }


def medians(rows: list[Json]) -> Json:
    """Median change of each metric over the draws of each kind."""
    names = {(row["metric"], row["match"]) for row in rows}
    return {
        f"{metric}, {match}": median(r["difference"] for r in rows if (r["metric"], r["match"]) == (metric, match))
        for metric, match in sorted(names)
    }
