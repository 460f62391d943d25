"""A finished run made up by hand: every number a sentinel that stands nowhere else, model text that attacks the page."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench_app.experiments.recipe import Recipe, recipe_from
from workbench_app.experiments.tables import TABLES, read_tables, write_table

ATTACK = '<script>alert(1)</script><img src="https://evil.example/x" onerror="x">'
RECIPE: dict[str, Any] = {
    "name": "made",
    "title": "A made-up run",
    "question": "Does anything <b>happen</b>?",
    "models": ["some/model"],
    "prompts": {
        "asked": {"source": "refusal", "role": "ranking"},
        "held": {"source": "refusal_heldout", "role": "target", "metrics": ["refused", "length"]},
        "sums": {"source": "thinking", "role": "capability", "metrics": ["exact"]},
    },
    "rankings": [{"name": "fTRI", "method": "ftri", "prompts": "asked"}],
    "plans": [{"ranking": ["fTRI"], "n": [1, 2], "edit": ["off"]}],
    "claims": [
        {
            "name": "falls", "text": "Refusals fall", "prompts": "held", "metric": "refused", "ranking": "fTRI",
            "edit": "off", "n": 2, "direction": "down", "differences": ["ours are <i>other</i> prompts"],
            "paper": {"what": "refusals", "model": "R1", "base": 0.9, "steered": 0.53, "grade": "abstract"},
        },
        {
            "name": "sums-stay", "text": "Sums stay", "prompts": "sums", "metric": "exact", "ranking": "fTRI",
            "edit": "off", "n": 2, "direction": "none",
        },
    ],
    "paper": {"title": "A <paper>", "arxiv": "0000.00000", "model": "some/model"},
    "references": [
        {"model": "some/model", "expert": "L1E3", "value": 744.0, "what": "largest", "ranking": "fTRI"},
        {"model": "other/brand", "expert": "L2E2", "value": -0.5432, "what": "difference", "ranking": "fTRI"},
    ],
}  # fmt: skip
MATCHES = ("count", "layer", "usage")


def made_recipe(**changes: Any) -> Recipe:
    """The recipe of the made run, with some of its keys changed."""
    return recipe_from({**RECIPE, **changes})


def made_run(
    folder: Path, changes: Mapping[str, Any] | None = None, model: str = "some/model", **effect: float
) -> Path:
    """Writes the run. `effect`: columns of the row of `effects` for two experts off on the held-out prompts."""
    recipe = made_recipe(models=[model], **(changes or {}))
    folder.mkdir(parents=True)
    (folder / "recipe.toml").write_text(recipe.to_toml(), encoding="utf-8")
    (folder / "plan.json").write_text(json.dumps({"versions": {"torch": "9.9.9"}}), encoding="utf-8")
    for name, rows in _tables(model, effect).items():
        write_table(folder, name, rows)
    return folder


def made_tables(folder: Path, **effect: float) -> dict[str, Any]:
    """The run's tables as the report reads them."""
    return read_tables(made_run(folder, **effect))


def _tables(model: str, effect: Mapping[str, float]) -> dict[str, list[dict[str, Any]]]:
    arms = [{"arm": "base", "kind": "base"}, *(arm for n in (1, 2) for arm in _plan(n))]
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES if name != "claims"}
    found["arms"] = arms
    found["scores"] = [
        {"ranking": "fTRI", "method": "ftri", "rank": rank, "layer": 1, "expert": expert, "is_shared": False,
         "score": 0.5 - 0.0731 * rank, "n": 70 + rank, "low": 0.1, "high": 0.6, "p": 0.01, "p_adjusted": 0.0472, "flags": ""}
        for rank, expert in enumerate((3, 1, 2), 1)
    ]  # fmt: skip
    for arm in arms[1:]:
        found["effects"] += _effects(arm, effect)
    for arm in ("base", "P02"):
        for i, prompt in enumerate((ATTACK, "second?", "third?")):
            key = {"arm": arm, "prompts": "held", "prompt_id": f"p{i}", "prompt": prompt}
            answer = {"base": ATTACK, "P02": f"{ATTACK} steered"}[arm] if i == 0 else f"same {i}"
            found["answers"].append({**key, "answer": answer})
    dose = {"tokens": 4321, "tokens_changed": 1234, "slots": 8642, "slots_changed": 2468}
    found["doses"] = [{"arm": "P02", "prompts": "held", **dose}]
    moved = [{"kl_first_nats": 0.2 * i, "kl_nats": 0.321} for i in range(3)]
    found["distributions"] = [{"arm": "P02", "prompts": "held", "prompt_id": f"p{i}", **m} for i, m in enumerate(moved)]
    found["sinks"] = [{"arm": a, "layer": 0, "share": s, "decay": d}
                      for a, s, d in (("base", 0.41, 0.0), ("P02", 0.173, 0.578), ("P02.count.0", 0.4, 0.0244))]  # fmt: skip
    found["notes"] = [{"about": "controls", "text": f"{ATTACK} was lowered."}]
    return {name: [{"model": model, **row} for row in rows] for name, rows in found.items()}


def _plan(n: int) -> list[dict[str, Any]]:
    about = {"ranking": "fTRI", "end": "top", "edit": "off", "n": n, "phase": "all", "experts": [], "super_experts": []}
    arm = f"P0{n}"
    plan = {"arm": arm, "kind": "plan", "plan": "; ".join(f"off L1E{e}" for e in range(n)), **about}
    bottom = {**plan, "arm": f"{arm}.bottom", "kind": "bottom", "of": arm, "end": "bottom", "plan": "off L0E9"}
    draws = [
        {
            **plan,
            "arm": f"{arm}.{match}.{i}",
            "kind": "random",
            "of": arm,
            "match": match,
            "draw": i,
            "plan": f"off L5E{i}",
        }
        for match in MATCHES
        for i in range(3)
    ]
    return [plan, bottom, *draws]


def _effects(arm: Mapping[str, Any], changed: Mapping[str, float]) -> list[dict[str, Any]]:
    medians = {f"random_median_{match}": 0.0123 for match in MATCHES}
    about = {"arm": arm["arm"], "n": 64, "n_clusters": 17}
    draw = 0.01 * (arm.get("draw") or 0)
    held = {"prompts": "held", "role": "target", "metric": "refused", "base": 0.637}
    sums = {"prompts": "sums", "role": "capability", "metric": "exact", "base": 0.913}
    if arm["kind"] == "random":
        return [{**about, **held, "steered": 0.637 + draw, "difference": draw, "low": draw - 0.02, "high": draw + 0.02}]
    if arm["kind"] == "bottom":
        return [{**about, **held, "steered": 0.66, "difference": 0.023, "low": -0.011, "high": 0.057}]
    full = {"p": 0.001, "p_adjusted": 0.0213, "beats_random": 1.0, **medians}
    effect = {"steered": 0.274, "difference": -0.363, "low": -0.481, "high": -0.242}
    stayed = {"steered": 0.904, "difference": -0.009, "low": -0.031, "high": 0.013}
    return [
        {**about, **full, **held, **effect, **(changed if arm["arm"] == "P02" else {})},
        {**about, **full, **sums, **stayed},
    ]
