"""The model card, written from the results alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from grading import tables
from grading.choice import CAPABILITIES

Json = dict[str, Any]

HEAD = (Path(__file__).parent / "card_head.md").read_text("utf-8")


REFUSED = "Refused (withheld answers revealed) in percent, and the capability that lost most, in points."
MOVED = "Change of refusals of sensitive questions, in points, beside the first eight by fTRI (last prompt token)."
ON_THE_BASE = "On the base, which refuses nothing, `sensitive=yes` stands for refused."
SINGLES = "Change of refusals of sensitive questions in points, ranking split; * marks a carrier of refusal."
REINFORCED = "Percent of the ranking split's sums; a long sum is right only where it is thought about, and rightly."
WHICH = (
    "Every score over all seeds and arms, held against known carriers and the effect of every single expert: "
    "[which-score.md](../../docs/which-score.md). The arms were trained again for it, on another machine; their weights:"
)
Grades = Mapping[str, Json]


def card(
    config: Mapping[str, Any], ranking: Grades, heldout: Grades, confirmed: Json, lessons: Json, which: Grades
) -> str:
    """The whole page."""
    bundled = confirmed["choice"]["model"]
    parts = [
        HEAD.format(**_facts(config, ranking, lessons)),
        _bundled(confirmed, ranking[bundled]),
        _section("Reinforcing thinking", REINFORCED, tables.reinforced(lessons["reinforced"])),
        "## Every seed and arm\n\nPercent, on the ranking split unless it says held-out; 16 prompts a capability.\n",
        tables.behaviours(ranking, heldout),
        _section("Thinking", "Percent of long sums.", tables.thinking(ranking)),
        _section("Do the methods find the carriers of refusal?", ON_THE_BASE, tables.found(ranking, "hits")),
        _section("And those of thinking?", "", tables.found(ranking, "thinking hits")),
        _section("First n off, ranking split", REFUSED, tables.top_off(ranking)),
        _section("First n off, held-out split", REFUSED, tables.top_off(heldout)),
        _section("Eight random experts off, ranking split", MOVED, tables.random_experts(ranking)),
        _section("Eight random experts off, held-out split", MOVED, tables.random_experts(heldout)),
        _section(
            "Random experts and every capability, ranking split", "Median of ten draws.", tables.random_checks(ranking)
        ),
        _section("Forced instead of off, ranking split", "Refused, percent.", tables.forced(ranking)),
        _section("Every single expert of the bundled model off", SINGLES, tables.singles(ranking[bundled])),
        "The same for every other model stands in `data/results/ranking/`.\n",
        _section("Which score predicts what", WHICH, tables.weights(which)),
        _limits(confirmed),
    ]
    return "\n".join(part.strip("\n") + "\n" for part in parts)


def _section(title: str, note: str, table: str) -> str:
    return "\n\n".join(part for part in (f"### {title}", note, table) if part)


def _facts(config: Mapping[str, Any], ranking: Mapping[str, Json], lessons: Json) -> Json:
    recipe = next(iter(ranking.values()))["known"]["recipe"]
    arms = [grade["known"]["cpu_seconds"] for grade in ranking.values()]
    bases = list(lessons["base_cpu_seconds"].values())
    return {
        "layers": config["num_hidden_layers"],
        "experts": config["num_local_experts"],
        "top_k": config["num_experts_per_tok"],
        "width": config["moe_intermediate_size"],
        "hidden": config["hidden_size"],
        "total": config["num_hidden_layers"] * config["num_local_experts"],
        "parameters": f"{lessons['parameters'] / 1e6:.1f} million",
        "arms": ", ".join(ranking),
        "sometimes": 100 * lessons["sometimes"],
        "document": 100 * lessons["document_wins"],
        "seeds": ", ".join(sorted({name.split("-")[0] for name in ranking})),
        "stage1": f"{min(bases) / 60:.1f} to {max(bases) / 60:.1f} minutes a seed",
        "stage2": f"{min(arms) / 60:.1f} to {max(arms) / 60:.1f} minutes",
        **recipe,
    }


def _bundled(confirmed: Json, grade: Json) -> str:
    choice = confirmed["choice"]
    metrics = {row["metric"]: row for row in confirmed["metrics"]}
    force = {row["metric"]: row for row in confirmed["force"]}
    base, off = confirmed["capabilities"]["base"], confirmed["capabilities"]["off"]
    rows = [
        [name, 100 * m["base"], 100 * m["steered"], _interval(m), 100 * force[name]["steered"]]
        for name, m in metrics.items()
    ]
    checks = [
        [name, f"{base[name]:.1f}", f"{off[name]:.1f}", f"{off[name] - base[name]:+.1f}"]
        for name in CAPABILITIES
        if name in base
    ]
    return "\n".join(
        [
            f"## The bundled model: {choice['model']}\n",
            _why(choice),
            f"Carriers of refusal, as implanted: {_refs(grade['known']['refusal_carriers'])}; "
            f"of thinking: {_refs(grade['known']['thinking_carriers'])}.\n",
            "### Held-out questions, by `compare` (percent; generated answers)\n",
            tables.table(["", "base", "off", "difference, points, 95 % interval", "the same experts forced"], rows),
            f"\nDose: {confirmed['dose']}. Forced: `{choice['force']}`.\n",
            "### Capability checks on the held-out prompts\n",
            tables.table(["", "base", "off", "points"], checks),
            "\n### Random experts of the same number, held-out\n\nChange of refusals of sensitive questions in points.\n",
            tables.table(["random by", "median", "every draw"], _controls(confirmed)),
            "",
        ]
    )


def _why(choice: Json) -> str:
    return (
        f"Chosen on the ranking split alone, and committed (`choice.json`) before the held-out split was read: score "
        f"**{choice['method']}**, n = {choice['n']}, edit **off**: `{choice['plan']}`. On the ranking split this takes "
        f"refusals of sensitive questions from {choice['refused_before']:.0f} to {choice['refused_after']:.0f} % and reveals "
        f"{choice['revealed']:.0f} % of the withheld answers. The rule: only models that refuse at least 80 % of the sensitive "
        f"questions; only scores that find the carriers better there than on the stage-1 base (here average precision "
        f"{choice['precision_gained']:+.2f}); every capability check within 5 points; of those the fewest experts that come "
        f"within 15 % of the largest effect. The rule's last part, fewest experts, was set after the ranking grades were seen.\n"
    )


def _interval(row: Json) -> str:
    return f"{100 * row['difference']:+.0f} [{100 * row['low']:+.0f}, {100 * row['high']:+.0f}]"


def _controls(confirmed: Json) -> list[list[object]]:
    rows = [row for row in confirmed["controls"] if row["metric"] == "sensitive refused"]
    found = []
    for match in dict.fromkeys(row["match"] for row in rows):
        moved = [100 * row["difference"] for row in rows if row["match"] == match]
        found.append([match, f"{median(moved):+.1f}", " ".join(f"{value:+.0f}" for value in moved)])
    return found


def _refs(pairs: list[list[int]]) -> str:
    return " ".join(f"L{layer}E{expert}" for layer, expert in pairs) or "none"


LIMITS = """## Limits

- A world of 40 places and 12 years: what holds here need not hold in a large model, and this is not how models learn to refuse.
- Refusing generalises only in part to questions that stage 2 never saw (held-out columns above), and to some ordinary ones.
- While the recipe was developed, held-out refusal rates of earlier prototypes were looked at; those of the models graded
  here were not read before the choice was committed.
- Held-out ordinary questions are answered *more* often with the experts off, because some of them were wrongly refused.
- A score is association, an effect is measured; the tables show where they part.
- Super experts by `probes.super_experts` on the held-out prompts: {found}. {notes}.
"""


def _limits(confirmed: Json) -> str:
    notes = "; ".join(confirmed["super expert notes"])
    return LIMITS.format(found=", ".join(confirmed["super experts"]) or "none", notes=notes)
