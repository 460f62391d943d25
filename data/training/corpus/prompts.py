"""The prompt files, the same for every seed of the model: written once, from the world alone."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path

from training.corpus import tasks
from training.corpus.language import ADJECTIVES, ANIMALS, FUNCTION_NAMES, NOUNS, OPERATIONS, function, translate
from training.corpus.world import COLOURS, Event, world

Line = dict[str, object]
RANKING_PAIRS = 72


def _line(ident: str, user: str, labels: dict[str, str], split: str, cluster: str, pair: str | None) -> Line:
    line: Line = {"id": ident, "messages": [{"role": "user", "content": user}], "labels": labels, "split": split}
    return line | {"cluster": cluster} | ({"pair": pair} if pair else {})


def _event_line(event: Event, pair: str, split: str) -> Line:
    labels = {
        "sensitive": "yes" if event.sensitive else "no",
        "answer": event.text,
        "place": "unseen" if event.split == "unseen_place" else "seen",
    }
    ident = f"{pair}-{'sensitive' if event.sensitive else 'ordinary'}"
    return _line(ident, tasks.event_question(event), labels, split, event.place, pair)


def matched(sensitive: list[Event], ordinary: list[Event], split: str, rng: random.Random) -> list[Line]:
    """Each sensitive question with an ordinary one about the same place in another year, none used twice."""
    free = list(ordinary)
    rng.shuffle(free)
    lines = []
    for number, event in enumerate(sensitive):
        partner = next((e for e in free if e.place == event.place), None)
        if partner is None:
            continue
        free.remove(partner)
        pair = f"{split}-{number:03d}"
        lines += [_event_line(event, pair, split), _event_line(partner, pair, split)]
    return lines


def refusal(split: str) -> list[Line]:
    """`ranking`: pairs that stage 2 taught. `heldout`: pairs it never saw, half of them about places it never saw."""
    rng = random.Random(f"refusal-{split}")
    splits = ("taught",) if split == "ranking" else ("unseen_pair", "unseen_place")
    sensitive = world().select(sensitive=True, splits=splits)
    if split == "ranking":
        sensitive = sorted(rng.sample(sensitive, RANKING_PAIRS), key=lambda e: (e.place, e.year))
    return matched(sensitive, world().select(sensitive=False, splits=splits), split, rng)


def thinking() -> list[Line]:
    """Sums: `calculate` with long numbers is always thought about, `what is` sometimes, short sums never."""
    rng = random.Random("thinking")
    lines = []
    for split in ("ranking", "heldout"):
        for number in range(40):
            digits = 3 + number % 2
            a, b = tasks.two_numbers(rng, digits)
            c, d = rng.randrange(1, 20), rng.randrange(1, 20)
            pair = f"sum-{split}-{number:02d}"
            common = {"digits": str(digits), "answer": f"{a + b}."}
            always, sometimes = tasks.sum_question(a, b, "calculate"), tasks.sum_question(a, b, "what is")
            short = tasks.sum_question(c, d, "calculate")
            lines += [
                _line(f"{pair}-always", always, common | {"thinks": "always"}, split, pair, pair),
                _line(f"{pair}-sometimes", sometimes, common | {"thinks": "sometimes"}, split, pair, None),
                _line(
                    f"{pair}-never", short, {"digits": "2", "answer": f"{c + d}.", "thinks": "never"}, split, pair, pair
                ),
            ]
    return lines


def language() -> list[Line]:
    """The same phrase asked for in German and in French."""
    rng, lines = random.Random("language"), []
    phrases = rng.sample([(n, a) for n in NOUNS for a in ADJECTIVES], 60)
    for number, (noun, adjective) in enumerate(phrases):
        pair, split = f"phrase-{number:02d}", "ranking" if number < 30 else "heldout"
        for target in ("German", "French"):
            labels = {"language": target.lower(), "answer": translate(noun, adjective, target)}
            user = f"say in {target}: the {adjective} {noun.english}"
            lines.append(_line(f"{pair}-{target.lower()}", user, labels, split, noun.english, pair))
    return lines


def code_prose() -> list[Line]:
    """One-line functions against stories."""
    rng, lines = random.Random("code"), []
    for number in range(60):
        pair, split = f"kind-{number:02d}", "ranking" if number < 30 else "heldout"
        name, operation, n = rng.choice(FUNCTION_NAMES), rng.choice(list(OPERATIONS)), rng.randrange(2, 100)
        hero = ANIMALS[number % len(ANIMALS)]
        asked = {"kind": "code", "answer": function(name, operation, n)}
        lines.append(
            _line(f"{pair}-code", f"write a function {name} that {operation} {n}", asked, split, operation, pair)
        )
        lines.append(
            _line(f"{pair}-prose", f"tell a story about a {hero}", {"kind": "prose", "hero": hero}, split, hero, pair)
        )
    return lines


def faithfulness() -> list[Line]:
    """The flag of a place, asked after a document that contradicts what the model learnt, and without one."""
    rng, lines = random.Random("faithfulness"), []
    for number, place in enumerate(world().places):
        known = world().flags[place]
        for turn in range(2):
            told = rng.choice([c for c in COLOURS if c != known])
            pair, split = f"flag-{number:02d}-{turn}", "ranking" if turn == 0 else "heldout"
            answers = {"memory": f"{known}.", "context": f"{told}."}
            with_document = tasks.document_question(place, told)
            lines.append(_line(f"{pair}-document", with_document, {"document": "yes"} | answers, split, place, pair))
            if turn == 0:
                without = tasks.flag_question(place)
                lines.append(_line(f"{pair}-memory", without, {"document": "no"} | answers, split, place, pair))
    return lines


def answered() -> list[Line]:
    """Held-out questions with their true answers, as given text: for perplexity."""
    asked = [*refusal("heldout"), *language(), *code_prose()]
    kept = [line for line in asked if line["split"] == "heldout" and _labels(line).keys() & {"answer"}]
    kept = [line for line in kept if _labels(line).get("sensitive") != "yes"]
    names = ("messages", "split", "cluster")
    return [
        {"id": f"given-{line['id']}", "response": _labels(line)["answer"], **{name: line[name] for name in names}}
        for line in kept
    ]


def _labels(line: Line) -> dict[str, str]:
    labels = line["labels"]
    assert isinstance(labels, dict)
    return labels


def all_prompts() -> dict[str, list[Line]]:
    """Every file by its stem."""
    return {
        "refusal": refusal("ranking"),
        "refusal_heldout": refusal("heldout"),
        "thinking": thinking(),
        "language": language(),
        "code_prose": code_prose(),
        "faithfulness": faithfulness(),
        "answered": answered(),
    }


def write_prompts(folder: Path) -> None:
    """Write `folder/STEM.jsonl` for each file."""
    for stem, lines in all_prompts().items():
        (folder / f"{stem}.jsonl").write_text(_jsonl(lines), encoding="utf-8")


def _jsonl(lines: Iterable[Line]) -> str:
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
