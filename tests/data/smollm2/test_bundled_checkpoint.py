"""The bundled model is the arm that the rule chooses, loses no more than was asked of it, and its card is its results."""

import json
from pathlib import Path

DATA = Path(__file__).resolve().parents[3] / "data"
FOLDER = DATA / "checkpoints" / "smollm2-moe"


def results(folder):
    return {
        path.stem: json.loads(path.read_text("utf-8"))
        for path in (DATA / "smollm2" / "results" / folder).glob("*.json")
    }


def at_its_end(found):
    """The mean of the curve's last losses over four kinds and both numbers of experts."""
    lost = [nats for kind, _, nats in found["curve"][-1]["held_out"] if kind in ("chat", "code", "german", "prose")]
    assert len(lost) == 8
    return sum(lost) / 8


def before(arm):
    """The arm that this one goes on from, or the first of those that it is the mean of; None for one from the dense model."""
    from smollm2.arms import GOES_ON, MEAN_OF

    return GOES_ON.get(arm) or MEAN_OF.get(arm, (None,))[0]


def the_first(arm):
    return the_first(before(arm)) if before(arm) else arm


def test_the_card_is_generated_from_the_results():
    from smollm2.bundling import card_of

    assert (FOLDER / "README.md").read_text("utf-8") == card_of()


def test_no_arm_that_was_tried_stands_below_the_bundled_one_and_the_card_names_those_that_were_not():
    from smollm2.arms import ARMS, BUNDLED, GOES_ON, MEAN_OF

    tried = results("tried")
    assert {one["recipe"]["tokens"] for one in tried.values()} <= {102_400}
    fitting = [at_its_end(one) for one in tried.values() if one["recipe"]["rank"] is not None]
    assert all(at_its_end(tried[the_first(BUNDLED)]) <= other + 0.01 for other in fitting)
    lacking = [name for name in ARMS if name not in tried and name not in GOES_ON | MEAN_OF]
    assert not lacking or f"Not tried so far: {', '.join(lacking)} " in (FOLDER / "README.md").read_text("utf-8")
    assert (FOLDER / "additions.safetensors").stat().st_size <= 8_000_000


def test_the_bundled_model_is_within_what_was_asked_of_it():
    from smollm2.arms import BUNDLED

    figures = results(".")[BUNDLED]["figures"]
    for on, most in (("24", 0.33), ("16", 0.80)):
        lost = [kind[on]["nats"] for kind in figures["trained"].values()]
        assert sum(lost) / len(lost) <= most
    assert min(figures["rows"].values()) * 511 >= 20_000


def test_the_bundled_arm_loses_no_more_than_the_one_whose_place_it_took_and_declines_fewer_questions():
    from smollm2.arms import BUNDLED

    found = results(".")
    own, other = found[BUNDLED], found[before(BUNDLED)]
    for on in ("24", "16"):
        ours, theirs = ([kind[on]["nats"] for kind in one["figures"]["trained"].values()] for one in (own, other))
        assert sum(ours) <= sum(theirs)
    for by, kinds in own["declined"].items():
        assert kinds["others"][0] < other["declined"][by]["others"][0]
