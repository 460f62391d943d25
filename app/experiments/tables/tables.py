"""A run's tables, made from the files of its units and its prompts alone: equal however often the run was stopped."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from workbench import PromptSet
from workbench.comparison import cluster_keys

from ..engine import (
    METRIC,
    Arm,
    Piece,
    about_unit,
    lowered,
    outcomes,
    pieces,
    ranking_sets,
    read_arms,
    read_scores,
    read_unit,
    residuals_path,
    stand_ins,
    units_of,
)
from ..recipe import CHOICE, DIVERGENCE, NLL, SINK, Recipe, applies, ranked_on, spelt_out
from .effects import effects_table
from .schema import TABLES, as_table, write_table

Frame = pd.DataFrame
Columns = dict[str, Any]
_KL = dict(zip(DIVERGENCE, ("kl_nats", "kl_first_nats"), strict=True))


def write_tables(run: Path, recipe: Recipe, sets: Mapping[str, PromptSet]) -> None:
    """Writes every table but `claims`; `units` comes last, and says that the run is finished."""
    parts: dict[str, list[Frame]] = {name: [] for name in TABLES}
    for number, source in enumerate(recipe.models):
        found = _Tables(run, recipe, sets, number).all()
        for name, frame in found.items():
            parts[name].append(frame.assign(model=source.source))
    parts["notes"].append(Frame([{"about": "controls", "text": text} for text in lowered(recipe)]))
    for name in (*(n for n in TABLES if n not in ("claims", "units")), "units"):
        write_table(run, name, pd.concat(parts[name], ignore_index=True) if parts[name] else [])


@dataclass
class _Tables:
    """One model's part of the tables."""

    run: Path
    recipe: Recipe
    sets: Mapping[str, PromptSet]
    number: int

    def all(self) -> dict[str, Frame]:
        """Every table but claims, without the column model."""
        arms = as_table("arms", [{k: v for k, v in a._asdict().items() if k != "json"} for a in self.arms]).to_pandas()
        values = stacked([part for p, arm in self.runnable for part in self._values(p, arm)])
        answered = [(p, arm) for p, arm in self.runnable if p.what == "answers"]
        return {
            "scores": self._scores(),
            "arms": arms.drop(columns="model"),
            "values": values,
            "answers": stacked([self._answers(p, arm) for p, arm in answered]),
            "effects": effects_table(self.recipe, arms, values),
            "doses": Frame([self._dose(p, arm) for p, arm in answered]),
            "distributions": stacked([self._distributions(p, arm) for p, arm in self.runnable if self._has_kl(p)]),
            "residuals": pd.concat([Frame(), *self._residuals()], ignore_index=True),
            "sinks": self._sinks(),
            "notes": Frame(list(self._notes(values))),
            "units": Frame(outcomes(self.planned)),
        }

    @cached_property
    def arms(self) -> tuple[Arm, ...]:
        return read_arms(self.run, self.number)

    @cached_property
    def planned(self) -> list[Piece]:
        return pieces(self.recipe, self.arms)

    @cached_property
    def runnable(self) -> list[tuple[Piece, Arm]]:
        """Each piece that could be run, with the arm that stands for it."""
        return list(stand_ins(self.planned).items())

    @cached_property
    def _files(self) -> dict[tuple[str, str, str], Any]:
        """The Arrow tables of the unit files by prompts, what and arm; of a file of several arms, the arm's rows."""
        found: dict[tuple[str, str, str], Any] = {}
        for unit in units_of(self.recipe, self.number, self.planned):
            table = read_unit(self.run / unit.path)
            several = table.column("arm").to_numpy() if "arm" in table.column_names else None
            for arm in unit.arms:
                rows = table if several is None else table.filter(pa.array(several == arm.arm))
                found[unit.prompts, unit.what, arm.arm] = rows
        return found

    def _file(self, piece: Piece, arm: Arm) -> Any:
        return self._files[piece.prompts, piece.what, arm.arm]

    def _columns(self, piece: Piece, arm: Arm, *names: str) -> Columns:
        """Columns of a piece's file as arrays, under the piece's own arm."""
        table = self._file(piece, arm)
        found = {name: table.column(name).to_numpy() for name in names}
        return {"arm": piece.arm.arm, "prompts": piece.prompts, **found}

    # ---- values, answers, doses

    def _values(self, piece: Piece, arm: Arm) -> Iterator[Columns]:
        """Each metric of a piece."""
        metrics = self._metric_columns(piece, arm)
        found = (
            self._sink_values(piece, arm) if piece.what == "sinks" else self._columns(piece, arm, "prompt_id", *metrics)
        )
        about = {key: found[key] for key in ("arm", "prompts", "prompt_id")}
        about["cluster"] = np.array([self._clusters[piece.prompts][name] for name in found["prompt_id"]], object)
        for column, metric in metrics.items():
            rows = {**about, "metric": metric, "value": found[column]}
            kept = self._asked(piece.prompts, metric) if piece.what == "answers" else np.array(True)
            yield rows if kept.all() else {k: v[kept] if isinstance(v, np.ndarray) else v for k, v in rows.items()}

    def _asked(self, prompts: str, metric: str) -> np.ndarray:
        """Which prompts of a set a metric is about, bool [prompts]."""
        spec = spelt_out(self.recipe, metric)
        return np.array([applies(spec, p.labels) for p in self.sets[prompts]])

    def _metric_columns(self, piece: Piece, arm: Arm) -> dict[str, str]:
        """Columns of the unit's file that are metrics, with their names."""
        asked = self.recipe.prompts[piece.prompts].metrics
        if piece.what == "answers":
            names = self._file(piece, arm).column_names
            return {c: c.removeprefix(METRIC) for c in names if c.startswith(METRIC)}
        if piece.what == "distributions":
            return {column: name for name, column in _KL.items() if name in asked}
        if piece.what == "choice":
            return {name: name for name in CHOICE if name in asked}
        return {"nll_nats": NLL} if piece.what == "perplexity" else {"share": SINK}

    @cached_property
    def _clusters(self) -> dict[str, dict[str, str]]:
        """By prompt set, the cluster of each prompt."""
        return {
            name: dict(zip((p.id for p in prompts), cluster_keys(prompts), strict=True))
            for name, prompts in self.sets.items()
        }

    def _answers(self, piece: Piece, arm: Arm) -> Columns:
        words = np.array([p.said for p in self.sets[piece.prompts]], object)
        return {**self._columns(piece, arm, "prompt_id", "answer"), "prompt": words}

    def _dose(self, piece: Piece, arm: Arm) -> dict[str, Any]:
        dose = about_unit(self._file(piece, arm))["dose"]
        kept = {key: dose[key] for key in ("tokens", "tokens_changed", "slots", "slots_changed")}
        return {"arm": piece.arm.arm, "prompts": piece.prompts, **kept}

    # ---- distributions and sinks

    def _has_kl(self, piece: Piece) -> bool:
        """Distributions over the base's answers; over given text where a set has no answers."""
        return piece.what == "distributions" or (piece.what == "perplexity" and piece.prompts not in self._with_kl)

    @cached_property
    def _with_kl(self) -> frozenset[str]:
        return frozenset(p.prompts for p in self.planned if p.what == "distributions")

    def _distributions(self, piece: Piece, arm: Arm) -> Columns:
        return self._columns(piece, arm, "prompt_id", "kl_first_nats", "kl_nats", "nll_nats", "n_tokens")

    def _sink_values(self, piece: Piece, arm: Arm) -> Columns:
        """The mean over layers and heads, by prompt."""
        frame = self._file(piece, arm).to_pandas()
        means: Any = frame.groupby("prompt_id")["share"].mean()
        ids, share = means.index.to_numpy(object), means.to_numpy(np.float64)
        return {"arm": piece.arm.arm, "prompts": piece.prompts, "prompt_id": ids, "share": share}

    def _sinks(self) -> Frame:
        """By layer, over all queries of all prompts: the mean over heads, and the decay against the bare model."""
        from workbench.comparison import decay

        found = {piece.arm.arm: self._sink_share(piece, arm) for piece, arm in self.runnable if piece.what == "sinks"}
        rows: list[dict[str, Any]] = []
        for name, share in found.items():
            lost = decay(found["base"], share)
            rows += [{"arm": name, "layer": n, "share": s, "decay": lost[n]} for n, s in share.by_layer().items()]
        return Frame(rows)

    def _sink_share(self, piece: Piece, arm: Arm) -> Any:
        from workbench.comparison import SinkShare

        frame = self._file(piece, arm).to_pandas()
        paid: Any = (frame["share"] * frame["n_queries"]).groupby([frame["layer"], frame["head"]]).sum().unstack()
        n = int(frame.drop_duplicates("prompt_id")["n_queries"].sum())
        return SinkShare(tuple(map(int, paid.index)), paid.to_numpy(np.float64) / n, n)

    # ---- scores and notes

    def _scores(self) -> Frame:
        found: list[Frame] = []
        for name, scores in read_scores(self.run, self.recipe, self.number)[0].items():
            rank = np.arange(1, len(scores.frame) + 1)
            found.append(scores.frame.assign(ranking=name, method=scores.method, rank=rank))
        return pd.concat(found, ignore_index=True) if found else Frame()

    def _residuals(self) -> Iterator[Frame]:
        for name in ranking_sets(self.recipe):
            path = self.run / residuals_path(self.recipe, self.number, name)
            if path.is_file():  # runs of an earlier version lack it
                yield read_unit(path).to_pandas().assign(prompts=name)

    def _notes(self, values: Frame) -> Iterator[dict[str, str]]:
        scores, failed = read_scores(self.run, self.recipe, self.number)
        for name, reason in failed.items():
            yield {"about": f"ranking {name}", "text": f"could not be made: {reason}"}
        for name, found in scores.items():
            yield from ({"about": f"ranking {name}", "text": text} for text in found.notes)
        for arm in self.arms:
            if arm.reason is not None and not (arm.of and self._cannot(arm.of)):
                yield {"about": f"arm {arm.arm}", "text": f"was not run: {arm.reason}"}
        yield from self._kept()
        yield from left_out_of(values)

    def _kept(self) -> Iterator[dict[str, str]]:
        """Measured prompts that experts were ranked on as well."""
        for name in self.recipe.measured():
            if shared := ranked_on(self.recipe, self.sets, name):
                text = f"{len(shared)} of {len(self.sets[name])} prompts stand in a set that experts are ranked on as well."
                yield {"about": f"prompts {name}", "text": text}

    def _cannot(self, name: str) -> bool:
        return any(arm.arm == name and arm.reason is not None for arm in self.arms)


def left_out_of(values: Frame) -> Iterator[dict[str, str]]:
    """What has no value for some answers: prompts left out are said, with the arm that loses most."""
    if not len(values):
        return
    missing: Any = values["value"].isna().groupby([values["prompts"], values["metric"], values["arm"]]).sum()
    for (prompts, metric), lost in missing.groupby(level=[0, 1]):
        if lost.any():
            by_arm = lost.droplevel([0, 1])
            n = values.loc[values["prompts"] == prompts, "prompt_id"].nunique()
            text = f"{metric} has no value for {int(by_arm['base'])} of {n} answers of the bare model, and for up to "
            yield {"about": f"prompts {prompts}", "text": f"{text}{int(by_arm.max())} of an arm ({by_arm.idxmax()})."}


def stacked(parts: Sequence[Columns]) -> Frame:
    """One frame out of many columns, each an array or one text for all rows; pandas would take ten times as long."""
    if not parts:
        return Frame()
    lengths = [len(part["prompt_id"]) for part in parts]
    return Frame(
        {
            name: np.concatenate([_long(part[name], n) for part, n in zip(parts, lengths, strict=True)])
            for name in parts[0]
        }
    )


def _long(value: Any, n: int) -> np.ndarray:
    return np.full(n, value, object) if isinstance(value, str) else np.asarray(value)
