"""What a store can be asked: labels that tell prompts apart, splits, roles, and whether it thinks."""

from types import SimpleNamespace

import pandas as pd
import pytest
from workbench_app.dashboard.questions import offers

from tests.support.stores import random_store
from workbench.anatomy import Anatomy, LayerAnatomy
from workbench.store import write_store
from workbench.thinking import PAIRS


def test_labels_that_tell_prompts_apart_come_first_and_texts_are_left_out():
    values = {"b": ["no", "yes", None], "a": ["x", "y"], "one": ["same"], "few": [f"{i:02}" for i in range(12)],
              "text": [str(i) for i in range(13)]}  # fmt: skip
    rows = [("p", name, v) for name, given in values.items() for v in given] + [("q", "b", "no")]
    made = SimpleNamespace(labels=pd.DataFrame(rows, columns=["prompt_id", "name", "value"]))
    few = [("few", f"{i:02}") for i in range(11, -1, -1)]
    assert offers.few_valued(made) == [("a", "y"), ("a", "x"), ("b", "yes"), ("b", "no"), *few, ("one", "same")]


@pytest.mark.parametrize(
    ("role", "text", "at", "thinks"),
    [
        ("think", PAIRS[0].open, 2, True),
        ("think", "4", 2, False),
        ("assistant", PAIRS[0].open, 2, False),
        ("think", PAIRS[0].open, 1, False),
    ],
)
def test_a_store_thinks_where_a_thought_was_said(tmp_path, role, text, at, thinks):
    shape = Anatomy("tiny", "x", 8, 9, f"w{role}{text}{at}", (LayerAnatomy(0, 2, 1),))
    tokens = pd.DataFrame({"prompt_id": "p", "sample": 0, "position": range(3), "token_id": 1, "token": ["a", None, "c"],
                           "role": "user", "generated": [False, False, True]})  # fmt: skip
    tokens.loc[at, ["role", "token"]] = [role, f" {text}\n"]
    slots = pd.DataFrame(
        {"prompt_id": "p", "sample": 0, "position": range(3), "layer": 0, "slot": 0, "expert": 0, "weight": 1.0}
    )
    prompts = pd.DataFrame({"prompt_id": ["p"], "text": "t", "n_tokens": 2, "split": "heldout"})
    write_store(tmp_path / "s", shape, {"prompts": prompts, "tokens": tokens, "slots": slots})
    found = offers.offer(tmp_path / "s")
    assert found == offers.Offer((), (), ("split=heldout",), ("user", role), True, False, thinks)  # nothing was refused


def test_values_are_set_against_the_others_of_their_label():
    pairs = [("three", "c"), ("three", "b"), ("three", "a"), ("two", "b"), ("two", "a"), ("one", "x")]
    assert offers.compared(pairs) == ["three=a", "three=b", "three=c", "two=b"]


def test_a_store_without_responses_has_no_verdicts(tmp_path):
    found = offers.offer(random_store(tmp_path / "bare").path)
    assert (found.classes, found.has_responses, found.has_verdicts) == ((), False, False)


@pytest.mark.parametrize(("said", "both"), [(("I cannot help.", "Yes."), True), (("No!", "Yes."), False)])
def test_verdicts_are_classes_where_some_answers_were_refused_and_some_not(tmp_path, said, both):
    shape = Anatomy("tiny", "x", 8, 9, f"w{both}", (LayerAnatomy(0, 2, 1),))
    rows = [(p, i, text, i > 0) for p, answer in zip("ab", said, strict=True) for i, text in enumerate(("q", answer))]
    tokens = pd.DataFrame(rows, columns=["prompt_id", "position", "token", "generated"])
    slots = tokens[["prompt_id", "position"]].assign(sample=0, layer=0, slot=0, expert=0, weight=1.0)
    prompts = pd.DataFrame({"prompt_id": ["a", "b"], "text": "q", "n_tokens": 1})
    tables = {"prompts": prompts, "tokens": tokens.assign(sample=0, token_id=1, role="user"), "slots": slots}
    found = offers.offer(write_store(tmp_path / "s", shape, tables).path)
    assert found.has_responses
    assert (found.has_verdicts, found.classes) == (both, ("refused", "answered") if both else ())
