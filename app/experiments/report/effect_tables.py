"""The report's tables as rows of text: what did not change, every plan, and what each plan really did."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..recipe import NOTHING, called, change, interval, level, p_value, said, unit_of
from .facts import ClaimFacts, Tables
from .labels import MATCHES, arm_label, given

WITHIN = 0.05
STAYED, MOVED, UNCLEAR = "within 5 points", "moved", "cannot tell"


class Row(NamedTuple):
    """Cells of a table, and a mark for the whole row (or none)."""

    cells: tuple[str, ...]
    mark: str = ""


class Block(NamedTuple):
    """A titled table with a sentence above it."""

    title: str
    words: str
    heads: tuple[str, ...]
    rows: tuple[Row, ...]


def claimed_arms(facts: Sequence[ClaimFacts]) -> list[dict[str, Any]]:
    """The arms that claims are about, each once for every model."""
    found = {(f.row["model"], f.arm["arm"]): f.arm for f in facts if f.arm is not None}
    return list(found.values())


def unchanged(facts: Sequence[ClaimFacts], tables: Tables) -> list[Block]:
    """For every claimed plan, each capability: levels, change with interval, what random experts did, and a word."""
    return [block for arm in claimed_arms(facts) if (block := _capabilities(arm, tables)).rows]


def _capabilities(arm: dict[str, Any], tables: Tables) -> Block:
    effects: Any = tables["effects"]
    here = effects[(effects["model"] == arm["model"]) & (effects["role"] == "capability")]
    rows: list[Row] = []
    named: dict[str, list[str]] = {STAYED: [], MOVED: [], UNCLEAR: []}
    for row in here[here["arm"] == arm["arm"]].to_dict("records"):
        word, name = status(row), called(row["prompts"], row["metric"])
        named[word].append(name)
        rows.append(Row((name, *_effect_cells(row), _draw_range(row, arm, tables), word), word.split(" ")[0]))
    sentence = "; ".join(f"{word}: {', '.join(names)}" for word, names in named.items() if names)
    heads = ("capability", "base", "steered", "change", "95 % interval", "random draws", "")
    return Block(arm_label(arm), f"{sentence.capitalize()}." if sentence else "", heads, tuple(rows))


def status(row: Any) -> str:
    """Whether an interval says that a share stayed within 5 points, that the metric moved, or neither."""
    low, high = float(row["low"]), float(row["high"])
    if math.isnan(low):
        return UNCLEAR
    if unit_of(row["metric"]).factor != 1 and low >= -WITHIN and high <= WITHIN:
        return STAYED
    return MOVED if low > 0 or high < 0 else UNCLEAR


def all_effects(tables: Tables) -> list[Block]:
    """Every plan and every measure, with random medians: a table for each model, prompt set and metric."""
    effects, arms = tables["effects"], tables["arms"]
    kinds = {(a["model"], a["arm"]): a for a in arms.to_dict("records") if a["kind"] != "random"}
    heads = ("plan", "base", "steered", "change", "95 % interval", "p", "random", "beats")
    blocks: list[Block] = []
    groups: list[tuple[Any, Any]] = list(effects.groupby(["model", "prompts", "metric"], sort=False))
    for key, part in groups:
        shown = [r for r in part.to_dict("records") if (r["model"], r["arm"]) in kinds and r["arm"] != "base"]
        rows = [Row(_plan_cells(row, kinds[row["model"], row["arm"]])) for row in shown]
        title = f"{key[1]}: {said(str(key[2]))}, {unit_of(str(key[2])).level}"
        blocks.append(Block(title, _sizes(shown, str(key[0])), heads, tuple(rows)))
    return blocks


def _sizes(rows: list[Any], model: str) -> str:
    n = sorted({int(row["n"]) for row in rows})
    return f"{model}; {n[0] if len(n) == 1 else f'{n[0]} to {n[-1]}'} prompts." if n else model


def _plan_cells(row: Any, arm: Any) -> tuple[str, ...]:
    medians = [change(row[f"random_median_{match}"], row["metric"]) for match in MATCHES]
    random = ", ".join(medians) if set(medians) != {NOTHING} else NOTHING
    beats = f"{100 * row['beats_random']:.0f} %" if given(row["beats_random"]) else NOTHING
    return (arm_label(arm), *_effect_cells(row), p_value(number(row["p_adjusted"])), random, beats)


def _effect_cells(row: Any) -> tuple[str, str, str, str]:
    metric = row["metric"]
    spread = interval(float(row["low"]), float(row["high"]), metric)
    return level(row["base"], metric), level(row["steered"], metric), change(row["difference"], metric), spread


def _draw_range(row: Any, arm: Any, tables: Tables) -> str:
    arms, effects = tables["arms"], tables["effects"]
    drawn = set(arms[(arms["model"] == arm["model"]) & (arms["kind"] == "random") & (arms["of"] == arm["arm"])]["arm"])
    same: Any = effects[(effects["model"] == arm["model"]) & (effects["prompts"] == row["prompts"])]
    found = [d for d in same[(same["metric"] == row["metric"]) & same["arm"].isin(drawn)]["difference"] if given(d)]
    return f"{change(min(found), row['metric'])} to {change(max(found), row['metric'])}" if found else NOTHING


def doses(facts: Sequence[ClaimFacts], tables: Tables) -> Block:
    """What each claimed plan really changed, how far it moved the next token, and how many answers read the same."""
    heads = ("plan and prompts", "tokens changed", "slots changed", "KL, first token", "KL, answer", "same answers")
    rows: list[Row] = []
    effects: Any = tables["effects"]
    choosing: Any = effects[effects["role"] == "choosing"]["prompts"].unique()
    for arm in claimed_arms(facts):
        found: Any = tables["doses"][~tables["doses"]["prompts"].isin(choosing)]
        for row in found[(found["model"] == arm["model"]) & (found["arm"] == arm["arm"])].to_dict("records"):
            tokens, slots = (f"{int(row[f'{k}_changed']):,} of {int(row[k]):,}" for k in ("tokens", "slots"))
            moved = (_mean_kl(tables, arm, row["prompts"], f"{name}_nats") for name in ("kl_first", "kl"))
            name = f"{arm_label(arm)}; {row['prompts']}"
            rows.append(Row((name, tokens, slots, *moved, _same(tables, arm, row["prompts"]))))
    words = "What the plans really changed. KL is to the bare model, mean over prompts, in nats."
    return Block("The dose", words, heads, tuple(rows))


def _mean_kl(tables: Tables, arm: Any, prompts: str, column: str) -> str:
    found: Any = tables["distributions"]
    here = found[(found["model"] == arm["model"]) & (found["arm"] == arm["arm"]) & (found["prompts"] == prompts)]
    value = here[column].mean() if len(here) else math.nan
    return NOTHING if math.isnan(value) else f"{value:z.3f}"  # rounding error is not less than nothing


def _same(tables: Tables, arm: Any, prompts: str) -> str:
    pairs = answer_pairs(tables, arm["model"], arm["arm"], prompts)
    return f"{sum(a == b for _, a, b in pairs)} of {len(pairs)}" if pairs else NOTHING


def answer_pairs(tables: Tables, model: str, arm: str, prompts: str) -> list[tuple[str, str, str]]:
    """(prompt, base answer, steered answer) in order of prompt id."""
    found: Any = tables["answers"]
    here = found[(found["model"] == model) & (found["prompts"] == prompts)]
    base = {r["prompt_id"]: r for r in here[here["arm"] == "base"].to_dict("records")}
    rows = [r for r in here[here["arm"] == arm].to_dict("records") if r["prompt_id"] in base]
    return [(str(r["prompt"]), str(base[r["prompt_id"]]["answer"]), str(r["answer"])) for r in rows]


def number(value: Any) -> float:
    """A cell's number; NaN where it holds none."""
    return float(value) if given(value) else math.nan
