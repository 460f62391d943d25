"""The card of smollm2-moe, out of the results of its training: every number in it was measured."""

import json
from pathlib import Path
from typing import Any

from .arms import ARMS
from .packages import PACKAGES

RESULTS = Path(__file__).resolve().parent / "results"
GROUPS = 32
KINDS = ("chat", "code", "german", "prose")


def results() -> dict[str, Any]:
    """By arm: recipe, curve, and figures where they were measured."""
    return {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(RESULTS.glob("*.json"))}


def card(arm: str, found: dict[str, Any], size: int, wheel: str) -> str:
    """README.md of the checkpoint that bundles this arm, whose additions have `size` bytes."""
    own = found[arm]
    recipe, figures = own["recipe"], own["figures"]
    per_kind = min(figures["rows"].values()) * 511
    chat = own["distinct"]["chat"]
    said = {
        "arm": arm, "learned": recipe["tokens"], "rank": recipe["rank"], "size": size / 1e6, "wheel": wheel,
        "tokens": f"{per_kind:,}", "fitted": f"{own['fitted']:,}", "chat": chat, "times": recipe["tokens"] / 4 / chat,
        "packages": ", ".join(f"{p.name} {p.version}" for p in PACKAGES),
    }  # fmt: skip
    template = Path(__file__).with_name("card.md").read_text(encoding="utf-8")
    lacking = [name for name in ARMS if name not in found]
    missing = f"Not trained so far, though stated in `data/smollm2/arms.py`: {', '.join(lacking)}." if lacking else ""
    reached = {"wanted": _reached(figures, 0.33, 0.80), "goal": _reached(figures, 0.20, 0.50)}
    return template.format(**said, **reached, losses=_losses(figures), arms=_arms(found), missing=missing)


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
        "\nRandom, first routers and oracle (the groups that add most, known to who computes all of them) choose among the same "
        "groups on the dense model's own weights.\n"
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
    """The mean over kinds at 24 and 16 groups, along the training."""
    points: list[str] = []
    for line in one["curve"]:
        by_k: dict[int, list[float]] = {}
        for _, k, nats in line["held_out"]:
            by_k.setdefault(k, []).append(nats)
        means = "/".join(f"{sum(v) / len(v):.2f}" for _, v in sorted(by_k.items(), reverse=True))
        points.append(f"{line['tokens'] // 1000}k {means}")
    return f"- **{name}**, mean at 24/16 after so many tokens: {', '.join(points)}."


def _table(rows: list[list[str]]) -> str:
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
