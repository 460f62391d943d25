"""The bundled model is the arm that the rule chooses, loses no more than was asked of it, and its card is its results."""

import json
from pathlib import Path

DATA = Path(__file__).resolve().parents[3] / "data"
FOLDER = DATA / "checkpoints" / "smollm2-moe"


def test_the_card_is_generated_from_the_results():
    from smollm2.bundling import bundled_arm, card_of

    assert (FOLDER / "README.md").read_text("utf-8") == card_of(bundled_arm())


def test_the_bundled_arm_is_the_one_that_the_rule_chooses():
    from smollm2.bundling import bundled_arm
    from smollm2.card import results

    found = results()
    tokens = found[bundled_arm()]["curve"][-1]["tokens"]
    fitting = {
        n: r for n, r in found.items() if (r["recipe"]["rank"] or 99) <= 11 and r["curve"][-1]["tokens"] == tokens
    }
    means = {
        n: sum(x[2] for x in r["curve"][-1]["held_out"]) / len(r["curve"][-1]["held_out"]) for n, r in fitting.items()
    }
    assert bundled_arm() == min(means, key=means.__getitem__)


def test_the_bundled_model_is_within_what_was_asked_of_it():
    figures = json.loads((DATA / "smollm2" / "results" / "rank8.json").read_text("utf-8"))["figures"]
    for on, most in (("24", 0.33), ("16", 0.80)):
        lost = [kind[on]["nats"] for kind in figures["trained"].values()]
        assert sum(lost) / len(lost) <= most
    assert min(figures["rows"].values()) * 511 >= 20_000
