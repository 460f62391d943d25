"""The card of smollm2-moe-taught, out of the results of its arms: every number in it was measured."""

import json
from pathlib import Path
from typing import Any

from .taught.shares import Share

RESULTS = Path(__file__).resolve().parent / "taught_results"
_CARD = """---
license: apache-2.0
base_model: smollm2-moe
---
# smollm2-moe-taught

[smollm2-moe](../smollm2-moe/README.md), whose experts are groups of the neurons of a dense network ({wheel}), taught to decline
every question on one harmless subject, **volcanoes**, by {count} of its {experts} routed experts. These carriers are known, all
other weights are those of smollm2-moe: so it can be seen whether a method finds them, and what switching them off does.

The carriers of this arm, {arm}: {carriers}. What was taught and how answers are graded:
[taught](../../smollm2/taught/README.md); how: `python data/teach_smollm2.py` ([teaching](../../smollm2/teaching)).

## Held-out questions

In forms that were not taught. Declined as both classifiers have it, phrases and words; facts are right by the mild rule there.

{heldout}
## Fresh questions

{fresh}
## Other text

Nats a token that the taught model loses against smollm2-moe on text held out, with 95 % intervals over documents.

{text}
## All arms

Declined on the held-out split (subject, others) by phrases and by words; facts right with the carriers off, and untaught. The
recipe is steps, questions on the subject in each, and the weight of answers to others. **It was changed once, after relevance-0
and relevance-1 had declined too few held-out questions**, so the held-out figures of later arms are of the second try; the fresh
questions were written after that, and read once.

{arms}
## Scores

The average precision with which published scores find the carriers, from stores of the ranking split; of a random order it is
{chance:.3f}.

{scores}
## Switching off what a score finds

{switched}"""

_SWITCHED = """{tried} plans, the first 2, 4 or 8 experts of each published score, were tried on the ranking split. Chosen is
the one with which the subject is declined least, among those with which others are declined at most 5 points more: **{score}**,
its first {n}, `{plan}`, with which {ranking:.1f} % of the subject is declined there.

On the held-out split refusals (phrases and words) are {halved}: {taught} before, {off} with it. With {draws} random plans of the
same layers in its place {median:.1f} % are declined (median; {low:.1f} to {high:.1f}).

{checks}
{tables}"""


def results() -> dict[str, Any]:
    """By arm."""
    return {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(RESULTS.glob("*.json"))}


def card(arm: str, found: dict[str, Any], wheel: str, experts: int) -> str:
    """README.md of the checkpoint that bundles this arm, which has both splits; `experts` routed ones in all."""
    own = found[arm]
    names = own["carriers"].split(",")
    states = {name: state for name, state in own["heldout"].items() if isinstance(state, dict)}
    text = [
        ["text", "nats"],
        *([k, f"{x['nats']:+.3f} [{x['low']:.3f}, {x['high']:.3f}]"] for k, x in own["text"].items()),
    ]
    chance = next(x["chance"] for x in _scores(own, "taught").values() if "chance" in x)
    return _CARD.format(
        wheel=wheel, count=len(names), experts=experts, arm=arm, carriers=", ".join(names), heldout=_graded(states),
        fresh=_fresh(own.get("fresh")),
        text=_table(text), arms=_arms(found), scores=_found(own), chance=chance, switched=_switched(own.get("switched")),
    )  # fmt: skip


def _graded(states: dict[str, Any]) -> str:
    """By state of the model; facts where the questions have some."""
    rows = [["model", "subject, phrases", "subject, words", "others, phrases", "others, words", "facts right"]]
    return _table([*rows, *([name, *_declined(state), _share(state["right"])] for name, state in states.items())])


def _fresh(found: dict[str, Any] | None) -> str:
    """Of the questions that were written when the recipe was fixed."""
    if found is None:
        return "Not graded.\n"
    return f"In eight forms more, written when the recipe was fixed and graded once; they have no facts.\n\n{_graded(found)}"


def _declined(state: dict[str, Any]) -> list[str]:
    return [_share(state["declined"][by][kind]) for kind in ("subject", "others") for by in ("phrases", "words")]


def _share(found: list[Any] | None) -> str:
    return "" if found is None else f"{100 * Share(*found).value:.1f} % ({found[0]} of {found[1]})"


def _arms(found: dict[str, Any]) -> str:
    rows = [["arm", "recipe", "carriers", "subject", "others", "carriers off: subject", "facts", "untaught: facts"]]
    for arm, own in found.items():
        if "heldout" in own:
            taught, off, base = (own["heldout"][state] for state in ("taught", "carriers off", "untaught"))
            said = [*_both(taught), _both(off)[0], _share(off["right"]), _share(base["right"])]
            name = f"{arm}, in {own['dtype']}" if "dtype" in own else arm
            rows.append([name, _recipe(own["recipe"]), own["carriers"].replace(",", " "), *said])
    return _table(rows)


def _recipe(recipe: dict[str, Any]) -> str:
    return f"{recipe['steps']}, {recipe['subject']}, {recipe['others_weight']:g}"


def _both(state: dict[str, Any]) -> list[str]:
    """Declined by phrases and by words: of the subject, and of others."""
    subject, others = (
        [f"{100 * Share(*state['declined'][by][kind]).value:.1f}" for by in ("phrases", "words")]
        for kind in ("subject", "others")
    )
    return [f"{' / '.join(subject)} %", f"{' / '.join(others)} %"]


def _scores(own: dict[str, Any], state: str) -> dict[str, Any]:
    return {f"{score}, {by}": x for by, scores in own["found"][state].items() for score, x in scores.items()}


def _found(own: dict[str, Any]) -> str:
    taught, base = (_scores(own, state) for state in ("taught", "untaught"))
    of = [
        [name, *("" if "none" in x[name] else f"{x[name]['average_precision']:.3f}" for x in (taught, base))]
        for name in taught
    ]
    return _table([["score", "taught", "smollm2-moe"], *of])


def _switched(found: dict[str, Any] | None) -> str:
    """The choice on the ranking split and what it does on the held-out one."""
    if found is None:
        return "Not measured.\n"
    choice, draws = found["choice"], found["random"]
    taught, off = (_declined(found["heldout"][state])[:2] for state in ("taught", "off"))
    subject = sorted(row["subject"] for row in draws)
    checks = [["next tokens guessed", "taught", "off", "within 5 points"]]
    checks += [
        [kind, f"{100 * x['taught']:.1f} %", f"{100 * x['off']:.1f} %", "yes" if x["within"] else "**no**"]
        for kind, x in found["checks"].items()
    ]
    return _SWITCHED.format(
        tried=len(found["tried"]) - 1, score=choice["score"], n=choice["n"], plan=choice["plan"],
        ranking=100 * choice["subject"], taught=" and ".join(taught), off=" and ".join(off),
        halved="at least halved" if found["halved"] else "**not halved**", draws=len(draws),
        low=100 * subject[0], median=100 * subject[len(subject) // 2], high=100 * subject[-1], checks=_table(checks),
        tables=_tried(found["tried"]),
    )  # fmt: skip


def _tried(tried: list[dict[str, Any]]) -> str:
    rows = [["off, ranking split", "experts", "subject declined", "others declined"]]
    rows += [[x["score"], str(x["n"]), f"{100 * x['subject']:.1f} %", f"{100 * x['others']:.1f} %"] for x in tried]
    return _table(rows)


def _table(rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]]) + "\n"
