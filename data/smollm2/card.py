"""The card of smollm2-moe, out of the results of its training: every number in it was measured."""

import json
from pathlib import Path
from typing import Any

from .arms import ARMS, GOES_ON, MEAN_OF
from .packages import PACKAGES

RESULTS = Path(__file__).resolve().parent / "results"
GROUPS = 32
KINDS = ("chat", "code", "german", "prose")


def results(folder: str = ".") -> dict[str, Any]:
    """By arm: recipe, curve, and figures where they were measured; of whole trainings, or of those in `tried`."""
    return {path.stem: json.loads(path.read_text("utf-8")) for path in sorted((RESULTS / folder).glob("*.json"))}


def card(arm: str, found: dict[str, Any], tried: dict[str, Any], size: int, wheel: str) -> str:
    """README.md of the checkpoint that bundles this arm, whose additions have `size` bytes."""
    own = found[arm]
    recipe, figures = own["recipe"], own["figures"]
    made_by = _made_by(arm)
    per_kind = min(figures["rows"].values()) * 511
    said = {
        "arm": arm, "rank": recipe["rank"], "size": size / 1e6, "wheel": wheel, "tokens": f"{per_kind:,}",
        "fitted": f"{found[made_by[0]]['fitted']:,}", "commands": ", ".join(_command(name, found[name]) for name in made_by),
        "apologies": _apologies([name for name in made_by if "declined" in found[name]], found),
        "stages": "\n".join(_stage(name, found[name]) for name in made_by),
        "packages": ", ".join(f"{p.name} {p.version}" for p in PACKAGES),
    }  # fmt: skip
    template = Path(__file__).with_name("card.md").read_text(encoding="utf-8")
    lacking = [name for name in ARMS if name not in tried and name not in GOES_ON | MEAN_OF]
    missing = f"Not tried so far: {', '.join(lacking)} (what they are: `data/smollm2/arms.py`)." if lacking else ""
    reached = {"wanted": _reached(figures, 0.33, 0.80), "goal": _reached(figures, 0.20, 0.50)}
    tables = {"arms": _arms(found), "tried": _arms(tried) if tried else ""}
    return template.format(**said, **reached, losses=_losses(figures), **tables, missing=missing)


def _made_by(arm: str) -> list[str]:
    """The arms that were trained one after the other, this one last."""
    before = MEAN_OF[arm][-1] if arm in MEAN_OF else GOES_ON.get(arm)
    return [*(_made_by(before) if before else []), arm]


def _command(arm: str, own: dict[str, Any]) -> str:
    return f"`average {arm} DIR`" if arm in MEAN_OF else f"`arm {arm} DIR --tokens {own['recipe']['tokens']}`"


def _stage(arm: str, own: dict[str, Any]) -> str:
    """What was read of each kind, in the turns of the recipe, each kind again from its start when it is at its end."""
    if arm in MEAN_OF:
        return f"   - {arm}: the mean of what {' and '.join(MEAN_OF[arm])} learned, number by number."
    tokens, distinct = own["recipe"]["tokens"], own["distinct"]
    turns = own["recipe"].get("turns") or sorted(distinct)
    shares = {kind: tokens * turns.count(kind) / len(turns) for kind in turns}
    again = {kind: share / distinct[kind] for kind, share in shares.items() if share > distinct[kind]}
    more = ", ".join(f"{kind} was read {times:.1f} times ({distinct[kind]:,} tokens)" for kind, times in again.items())
    different = sum(min(share, distinct[kind]) for kind, share in shares.items())
    kinds = ", ".join(f"{share / tokens:.0%} {kind}" for kind, share in shares.items())
    return f"   - {arm}: {tokens:,} tokens ({kinds}), of which {different:,.0f} are distinct" + (
        f": {more}." if more else "."
    )


def _apologies(arms: list[str], found: dict[str, Any]) -> str:
    """What arms decline of the others' questions, by phrases and by words."""
    said: list[str] = []
    for arm in arms:
        by = [kinds["others"] for kinds in found[arm]["declined"].values()]
        said.append(f"{arm} {' and '.join(str(n) for n, _, _, _ in by)} of {by[0][1]}")
    return f" Declined of these, by phrases and by words: {', '.join(said)}." if said else ""


def _mean(figures: dict[str, Any], way: str, on: str) -> float:
    return sum(figures[way][kind][on]["nats"] for kind in KINDS) / len(KINDS)


def _reached(figures: dict[str, Any], *limits: float) -> str:
    found = [_mean(figures, "trained", on) <= limit for on, limit in zip(("24", "16"), limits, strict=True)]
    return (
        "both hold"
        if all(found)
        else "neither holds"
        if not any(found)
        else f"only that with {'24' if found[0] else '16'} holds"
    )


def _losses(figures: dict[str, Any]) -> str:
    """A row for each kind and number of groups that are on, a column for each way to choose them."""
    ways = {"random": "random experts", "first routers": "first routers", "oracle": "oracle", "trained": "**trained**"}
    rows = [["groups on", "text", *ways.values()]]
    for on in ("24", "16"):
        for kind in KINDS:
            rows.append([on, kind, *(_lost(figures[way][kind][on]) for way in ways)])
        rows.append([on, "mean", *(f"{_mean(figures, way, on):+.3f}" for way in ways)])
    return _table(rows) + (
        "\nRandom, first routers and oracle (the groups that add most, known to who computes all of them) choose among groups "
        "on the dense model's own weights: those of rank8, made alike on text without `begun` and `asked`.\n"
    )


def _lost(one: dict[str, float]) -> str:
    return f"{one['nats']:+.3f} [{one['low']:.3f}, {one['high']:.3f}]"


def _arms(found: dict[str, Any]) -> str:
    head = [
        "arm",
        "rank",
        "shared groups",
        "rates: updates, routers",
        "load",
        "tokens",
        f"24 on: {', '.join(KINDS)}",
        "16 on",
    ]
    return (
        _table([head, *(_arm(name, one) for name, one in found.items())])
        + "\n"
        + "\n".join(_curve(name, one) for name, one in found.items())
    )


def _arm(name: str, one: dict[str, Any]) -> list[str]:
    recipe, end = one["recipe"], one["curve"][-1]
    rank = "all weights" if recipe["rank"] is None else str(recipe["rank"])
    lost = {(kind, k + one["shared"]): nats for kind, k, nats in end["held_out"]}
    losses = [" ".join(f"{lost[kind, on]:+.3f}" for kind in KINDS) for on in (24, 16)]
    rates = f"{recipe['rate']:g}, {recipe['router_rate']:g}"
    return [name, rank, str(one["shared"]), rates, f"{recipe['balance']:g}", f"{end['tokens']:,}", *losses]


def _curve(name: str, one: dict[str, Any]) -> str:
    """The mean over kinds at 24 and 16 groups along the training, and what its steps saw, in ten parts."""
    points: list[str] = []
    for line in one["curve"]:
        by_k: dict[int, list[float]] = {}
        for kind, k, nats in line.get("held_out", []):
            if kind in KINDS:
                by_k.setdefault(k, []).append(nats)
        if by_k:
            points.append(f"{line['tokens'] // 1000}k {_means(by_k)}")
    seen = f"; of its own steps, in ten parts: {', '.join(_tenths(one))}" if "steps" in one["curve"][0] else ""
    return f"- **{name}**, mean at 24/16 after so many tokens: {', '.join(points)}{seen}."


def _tenths(one: dict[str, Any]) -> list[str]:
    """Mean divergence of the steps with 20/12 routed experts (16/8 beside 8 shared groups), on rows read for the first time."""
    steps = [step for line in one["curve"] for step in line["steps"]]
    found: list[str] = []
    for i in range(10):
        by_k: dict[int, list[float]] = {}
        for k, nats in steps[i * len(steps) // 10 : (i + 1) * len(steps) // 10]:
            by_k.setdefault(k, []).append(nats)
        found.append(_means(by_k))
    return found


def _means(by_k: dict[int, list[float]]) -> str:
    """The larger number of experts first."""
    return "/".join(f"{sum(nats) / len(nats):.2f}" for _, nats in sorted(by_k.items(), reverse=True))


def _table(rows: list[list[str]]) -> str:
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
