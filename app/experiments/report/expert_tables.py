"""The report's tables about experts: the first of every ranking, the paper's values beside ours, attention sinks."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from probes.ranking import ref_of, said, telling

from ..recipe import NOTHING, Ranking, Recipe, p_value
from .effect_tables import Block, Row, number
from .facts import Tables
from .labels import arm_label, given

FIRST = 8


def ranking_table(of: Ranking | None, key: Sequence[str], part: Any, tuned: Mapping[str, Sequence[str]]) -> Block:
    """The first experts of a ranking (rows of `scores` by rank; key: model and name). tuned: by behaviour."""
    heads = ("expert", "score", "95 % interval", "n", "p", "flags")
    options = said(of.options) if of else ""
    rows = [_score_row(row, tuned) for row in telling(part.head(FIRST)).to_dict("records")]
    words = f"{key[0]}; the first {len(rows)} of {len(part)} experts by {of.method if of else ''}"
    words += f" ({options})" if options else ""
    words += "" if len(rows) == min(FIRST, len(part)) else "; the others have a score of zero, or none"
    return Block(str(key[1]), f"{words}.", heads, tuple(rows))


def _score_row(row: Any, tuned: Mapping[str, Sequence[str]]) -> Row:
    name = str(ref_of(row))
    known = [f"tuned in training: {kind}" for kind, experts in tuned.items() if name in experts]
    flags = "; ".join([*([row["flags"]] if row["flags"] else []), *known])
    low, high = (number(row[c]) for c in ("low", "high"))
    spread = NOTHING if math.isnan(low) else f"[{low:.3g}, {high:.3g}]".replace("-", "−")
    return Row((name, _short(row["score"]), spread, f"{int(row['n']):,}", p_value(number(row["p_adjusted"])), flags))


def sinks(tables: Tables) -> list[Block]:
    """Attention to the first token under every plan, layer by layer, beside the random draws."""
    found: Any = tables["sinks"]
    if found.empty:
        return []
    heads = ("layer", "share, base", "share, steered", "decay", "decay under random draws")
    return [
        _sink_block(a, found, tables["arms"], heads) for a in _plans(tables["arms"]) if a["arm"] in set(found["arm"])
    ]


def _plans(arms: Any) -> list[Any]:
    return arms[arms["kind"].isin(["plan", "explicit"])].to_dict("records")


def _sink_block(arm: Any, found: Any, arms: Any, heads: tuple[str, ...]) -> Block:
    here = found[found["model"] == arm["model"]]
    drawn = arms[(arms["model"] == arm["model"]) & (arms["kind"] == "random") & (arms["of"] == arm["arm"])]["arm"]
    base = dict(zip(*(here[here["arm"] == "base"][c] for c in ("layer", "share")), strict=True))
    rows: list[Row] = []
    for row in here[here["arm"] == arm["arm"]].to_dict("records"):
        others = here[here["arm"].isin(drawn) & (here["layer"] == row["layer"])]["decay"].dropna().tolist()
        spread = f"{min(others):.3f} to {max(others):.3f}".replace("-", "−") if others else NOTHING
        cells = (str(row["layer"]), _share(base.get(row["layer"])), _share(row["share"]))
        rows.append(Row((*cells, f"{number(row['decay']):.3f}".replace("-", "−"), spread)))
    return Block(arm_label(arm), "0: the sink is what it was; 1: it is gone.", heads, tuple(rows))


def _share(value: Any) -> str:
    return f"{100 * value:.1f} %" if given(value) else NOTHING


def references(recipe: Recipe, tables: Tables) -> list[Block]:
    """The paper's values for single experts, with ours beside them where the model is the paper's."""
    scores: Any = tables["scores"]
    heads = ("expert", "what", "paper", "here", "our rank", "known from")
    models = list(dict.fromkeys(r.model for r in recipe.references))
    run = {_bare(model): model for model in dict.fromkeys(scores["model"])}
    blocks: list[Block] = []
    for model in models:
        ours = run.get(_bare(model))
        mine = scores[scores["model"] == ours].to_dict("records")
        rows = [_reference_row(r, mine) for r in recipe.references if r.model == model]
        words = "" if ours else f'Not run here; with models = ["{model}"] our values stand beside these.'
        blocks.append(Block(model, words, heads, tuple(rows)))
    return blocks


def _bare(model: str) -> str:
    return model.rstrip("/").rpartition("/")[2].casefold()


def _reference_row(reference: Any, scores: list[dict[str, Any]]) -> Row:
    found = [s for s in scores if str(ref_of(s)) == reference.expert and reference.ranking in (None, s["ranking"])]
    ours, rank = (_short(found[0]["score"]), str(found[0]["rank"])) if found else (NOTHING, NOTHING)
    return Row((reference.expert, reference.what, _short(reference.value), ours, rank, reference.source or ""))


def _short(value: Any) -> str:
    return f"{value:.4g}".replace("-", "−") if given(value) else NOTHING
