"""What was chosen for the bundled model on the ranking split and committed: the variant of fTRI and n (see the model card)."""

import json
from typing import Any, NamedTuple

from workbench import WorkbenchError
from workbench.bundled import bundled_path


class Choice(NamedTuple):
    """Options of `ftri`, and how many of its first experts; `n` is None where another score, or nothing, was chosen."""

    options: dict[str, Any]
    n: int | None


def committed_choice() -> Choice:
    """The choice in data/demo-model/choice.json: its method reads like `ftri last_prompt weight`."""
    stated = stated_by("choice.json")
    name, *variant = str(stated.get("method", "")).split() or [""]
    if name != "ftri" or not variant:
        return Choice({}, None)
    options = {"tokens": variant[0], **({"reduce": variant[1]} if len(variant) > 1 else {})}
    return Choice(options, int(stated["n"]))


def implanted() -> dict[str, tuple[str, ...]]:
    """The experts that the second stage of training tuned, by behaviour: the truth that a score can be graded by."""
    stated = stated_by("implant.json")
    kinds = {"refusal": "refusal_carriers", "thinking": "thinking_carriers"}
    return {kind: tuple(f"L{layer}E{e}" for layer, e in stated.get(key) or ()) for kind, key in kinds.items()}


def stated_by(file: str) -> dict[str, Any]:
    try:
        return json.loads(bundled_path(f"demo-model/{file}").read_text(encoding="utf-8"))
    except WorkbenchError:
        return {}
