"""One arm measured: its scores and those of its stage-1 base, the effects of its single experts, and what predicts what."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path

import pandas as pd
from grading.scored import expected, sheet
from training.corpus.prompts import refusal

from predicting.effects import single_effects
from predicting.scores import found, scores_of
from workbench import capture, load, read_prompts
from workbench.model import MoEModel

KEEP = frozenset({"logits", "norms", "residual", "matrices", "routers"})
CLASSES = {"arm": ("refused", "answered"), "base": ("sensitive=yes", "sensitive=no")}
"""What scores compare: what was answered; on the base, which refuses nothing, what was asked."""


def measure(folder: Path, base: Path, into: Path) -> None:
    """Writes NAME.parquet, a row for every routed expert (scores, the base's scores, effects), and NAME.json (the figures)."""
    known = json.loads((folder / "implant.json").read_text("utf-8"))
    carriers = {(layer, expert) for layer, expert in known.get("refusal_carriers", [])}
    model = load(str(folder))
    own, refused = _scores(model, *CLASSES["arm"])
    before, _ = _scores(load(str(base)), *CLASSES["base"])
    effects = single_effects(model, sheet(model, expected("ranking"))).set_index(["layer", "expert"])
    given = {"arm": folder.name, "seed": known["seed"], "sha256": sha256_of(folder), "refused": refused}
    figures = {
        **given,
        "found": found(own, carriers) if carriers else {},
        "found on the base": found(before, carriers) if carriers else {},
        "predicts": predicts(own, effects),
    }
    into.mkdir(parents=True, exist_ok=True)
    _table(own, before, effects, carriers).to_parquet(into / f"{folder.name}.parquet", compression="zstd")
    (into / f"{folder.name}.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def _scores(model: MoEModel, target: str, baseline: str) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    with tempfile.TemporaryDirectory() as scratch:
        prompts = read_prompts(refusal("ranking"))
        store = capture(model, prompts, Path(scratch) / "store", keep=KEEP, generate=16, progress=False)
        return scores_of(store, target, baseline)


def predicts(scores: pd.DataFrame, effects: pd.DataFrame) -> dict[str, dict[str, float]]:
    """By score, then by rate: Spearman's correlation of the score with the change of the rate; nothing where one is constant.

    Ordered by the change itself, not by its size: a score that finds what carries refusal is negative with refusals.
    """
    ranks = {name: table.rank() for name, table in (("scores", scores), ("effects", effects.loc[scores.index]))}
    varied = [rate for rate in effects if effects[rate].nunique() > 1]
    return {
        name: {rate: round(float(ranks["scores"][name].corr(ranks["effects"][rate])), 4) for rate in varied}
        for name in scores
        if scores[name].nunique() > 1
    }


def _table(
    own: pd.DataFrame, before: pd.DataFrame, effects: pd.DataFrame, carriers: set[tuple[int, int]]
) -> pd.DataFrame:
    parts = [own.add_prefix("score: "), before.add_prefix("base: "), effects.add_prefix("effect: ")]
    whole = pd.concat(parts, axis=1).astype("float32")
    return whole.assign(carrier=[key in carriers for key in whole.index]).reset_index()


def sha256_of(folder: Path) -> str:
    """Of the checkpoint's weights."""
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
