"""Probes that count tokens read what was said: a chat template's tokens stand apart, are counted, and can be asked for."""

import inspect
import random
from typing import Any

import numpy as np
import pandas as pd
import pytest

from probes import co_selection, dead_experts, ftri, npmi, routing_entropy, usage
from probes.catalogue import METHODS, RANKERS, Method
from probes.reading import NAMES, select
from probes.reading.content import WHOLE
from probes.renamed import old_words
from tests.probes.oracle.cases import empty, label
from tests.probes.oracle.memory import anatomy, memory_store
from tests.probes.reading.made import where
from workbench.errors import WorkbenchError
from workbench.prompts import TEXT_HAS_NO_ROLES
from workbench.store import Store

SAID = ("how", "to", "bake", "?")
EXPERTS, OWN = 6, 5
"""Expert 5 is selected by the template alone."""
QUICK = {"n_permutations": 20, "n_bootstrap": 20}
ASKED: dict[str, dict[str, Any]] = {
    "ftri": {"target": "kind=a"},
    "contrast": {"target": "kind=a"},
    "logit_contrast": {"target": "kind=a"},
    "safex": {"target": "kind=a", "alpha": 0.5},
    "npmi": {"token": "bake"},
    "usage": {},
    "domain_specialisation": {"domains": "kind"},
    "saliency": {},
    "min_norm": {},
    "easy_ep": {},
    "shape": {},
    "tcess": {},
    "unlearning_affinity": {},
}
COUNTING = [
    method
    for method in RANKERS.values()
    if "tokens" in inspect.signature(method.load()).parameters and not method.beside  # one asks two stores
]


def chats(template: bool, opens: bool = False, role: str | None = None, warned: tuple[str, ...] = ()) -> Store:
    """Eight prompts of four words and an answer of two; with the template's five tokens around the prompt, or without.

    opens: the template's last token opens a thought; role: what all tokens have instead of their own.
    """
    rng, rows = random.Random(0), empty() | {"logits": []}
    for number in range(8):
        prompt = f"p{number}"
        before = [("<s>", "special"), ("you", "template"), ("AI", "template")] if template else []
        after = [("<end>", "special"), ("<think>" if opens else "\n", "template")] if template else []
        asked = [*before, *((word, "user") for word in SAID), *after]
        rows["prompts"].append({"prompt_id": prompt, "text": "?", "pair": None, "n_tokens": len(asked)})
        rows["labels"].append(label(prompt, "ab"[number % 2], name="kind"))
        for position, (text, own) in enumerate([*asked, ("yes", "assistant"), (".", "assistant")]):
            key = {"prompt_id": prompt, "sample": 0, "position": position}
            about = {"token_id": sum(map(ord, text)), "token": text, "role": role or own}
            rows["tokens"].append({**key, **about, "generated": position >= len(asked)})
            expert = OWN if own in ("template", "special") else rng.randrange(OWN)
            rows["slots"].append({**key, "layer": 0, "slot": 0, "expert": expert, "weight": 1.0, "output_l2": 2.0})
            logits = [float(e == expert) for e in range(EXPERTS)]
            rows["logits"].append({**key, "layer": 0, "router_logits": logits})
            for layer in (-1, 0):
                rows["residual"].append(
                    {**key, "layer": layer, "max_abs": 1.0, "median_abs": 1.0, "routed_change": 0.5}
                )
    store = memory_store(anatomy((EXPERTS,), 1), rows)
    store.manifest["warnings"] = [*warned]
    return store


def answer(method: Method, store: Store, **options: Any) -> Any:
    ask = method.load()
    known = inspect.signature(ask).parameters
    quick = {name: n for name, n in QUICK.items() if name in known}
    return ask(store, **ASKED[method.name], **quick, **options)


def default(method: Method) -> str:
    return inspect.signature(method.load()).parameters["tokens"].default


@pytest.mark.parametrize("method", COUNTING, ids=lambda method: method.name)
def test_a_template_changes_no_ranking_by_default(method: Method) -> None:
    bare, chat = answer(method, chats(False)), answer(method, chats(True))
    pd.testing.assert_frame_equal(chat.frame, bare.frame)
    assert (chat.options["tokens"], bare.options["tokens"]) == (default(method), default(method))
    with_it = answer(method, chats(True), tokens=WHOLE[default(method)])
    assert not with_it.frame.equals(bare.frame)
    assert int(with_it.frame.set_index("expert")["n"][OWN]) == 40
    assert int(chat.frame.set_index("expert")["n"][OWN]) == 0


@pytest.mark.parametrize("method", COUNTING, ids=lambda method: method.name)
def test_the_notes_say_how_many_tokens_stand_apart_and_how_to_have_it_otherwise(method: Method) -> None:
    apart = "the chat template's or special (24 template, 16 special)"
    total = {"content": 88, "prompt_content": 72}[default(method)]
    chat = answer(method, chats(True))
    (note,) = [note for note in chat.notes if "template" in note]
    whole = WHOLE[default(method)]
    assert note.startswith(f"40 of {total} tokens are {apart} and were left out; tokens={whole} reads them too")
    (note,) = [note for note in answer(method, chats(True), tokens=whole).notes if "template" in note]
    assert note == f"40 of {total} tokens are {apart} and were read; tokens={default(method)} leaves them out"
    whole = chats(True)
    for quiet in (answer(method, chats(False)), answer(method, whole, tokens=np.ones(len(whole.tokens), bool))):
        assert not [note for note in quiet.notes if "template" in note]


@pytest.mark.parametrize("method", [m for m in COUNTING if m.name != "npmi"], ids=lambda method: method.name)
def test_roles_take_the_place_of_content(method: Method) -> None:
    found = answer(method, chats(True), roles=["template"])
    assert found.frame.set_index("expert")["n"][OWN] == 24
    assert found.options["tokens"] == WHOLE[default(method)]
    assert found.options["roles"] == ["template"]


def test_the_sets_of_content_are_those_with_the_template_without_it() -> None:
    store = chats(True)
    assert {*WHOLE, *WHOLE.values()} <= {*NAMES}
    first = [name for name in where(store, select(store, "content")) if name.startswith("p0:")]
    assert first == ["p0:3", "p0:4", "p0:5", "p0:6", "p0:9", "p0:10"]
    assert [n for n in where(store, select(store, "prompt_content")) if n.startswith("p0:")] == first[:4]
    assert select(store, "all").all()


def test_tables_of_layers_leave_the_template_out_and_no_expert_that_it_selects_is_dead() -> None:
    bare, chat = chats(False), chats(True)
    for probe, whole in ((routing_entropy, {}), (co_selection, {"first": 0})):
        pd.testing.assert_frame_equal(probe(chat, **whole).frame, probe(bare, **whole).frame)
        assert len([note for note in probe(chat).notes if "template" in note]) == 1
    pairs = co_selection(chat, 0, tokens="all", first=0).frame
    alone = usage(chat, tokens="all", measure="rate", n_bootstrap=0).frame.set_index("expert")["score"]
    assert alone[OWN] == pytest.approx(40 / 88)
    assert pairs["expected"].to_numpy() == pytest.approx(
        alone[pairs["expert"]].to_numpy() * alone[pairs["other_expert"]].to_numpy()
    )
    assert dead_experts(chat).experts() == ()
    assert [str(ref) for ref in dead_experts(bare).experts()] == ["L0E5"]


def test_a_thought_that_the_template_opens_is_counted_and_its_other_words_are_not() -> None:
    store = chats(True, opens=True)
    found = npmi(store, {"<think>": 1}, **QUICK)
    assert found.notes[:2] == ("<think>: 8 occurrences in 8 responses", "56 tokens of 8 responses read")
    assert found.notes[2].startswith(
        "32 of 88 tokens are the chat template's or special (16 special, 16 template) and were left out"
    )
    with pytest.raises(
        WorkbenchError, match=r"'AI' is at none of the 48 tokens read .*; it is at 8 others, which tokens='all'"
    ):
        npmi(store, token="AI")
    assert npmi(store, token="AI", tokens="all", **QUICK).notes[0] == "AI: 8 occurrences in 8 responses"
    role = npmi(store, role="special", **QUICK)
    assert role.notes[:2] == ("role special: 16 occurrences in 8 responses", "64 tokens of 8 responses read")


REWRITTEN = "roles are unknown: the chat template rewrites message 0 (user) (8 prompts, the first is 'p0')"
TEXT = f"roles are unknown: {TEXT_HAS_NO_ROLES} (8 prompts, the first is 'p0')"


MAY_BE = "72 of 72 tokens may be the chat template's and were read: their roles are unknown"
PLAIN = "72 of 72 tokens are text without a chat template and were all read"


@pytest.mark.parametrize(
    ("role", "warned", "said"),
    [
        ("unknown", (REWRITTEN,), MAY_BE),
        ("unknown", (TEXT, REWRITTEN), MAY_BE),
        ("unknown", (), MAY_BE),  # an engine's ids, which say nothing of roles
        (None, (), MAY_BE),  # a store written without the column
        ("unknown", (TEXT,), PLAIN),
        ("unknown", ("begins with two BOS tokens", TEXT), PLAIN),
    ],
)
def test_where_nobody_knows_who_speaks_all_is_read_and_that_is_said(
    role: str | None, warned: tuple[str, ...], said: str
) -> None:
    store = chats(True, warned=warned)
    store.tokens["role"] = pd.Series([role] * len(store.tokens), dtype="category")
    found = ftri(store, "kind=a", **QUICK)
    assert [note for note in found.notes if "template" in note] == [said]
    whole = ftri(store, "kind=a", tokens="prompt", **QUICK)
    np.testing.assert_array_equal(found.frame["score"], whole.frame["score"])
    assert found.frame.set_index("expert")["n"][OWN] == 40
    assert not [note for note in whole.notes if "template" in note]


@pytest.mark.parametrize(
    ("method", "old", "new"),
    [(method, old, new) for method in METHODS for old, new in old_words(method.load()).items()],
    ids=lambda value: getattr(value, "name", value),
)
def test_an_old_word_is_answered_with_todays(method: Method, old: str, new: str) -> None:
    known = inspect.signature(method.load()).parameters
    assert new in known
    assert old not in known
    with pytest.raises(WorkbenchError, match=f"^{method.name} calls '{old}' {new} now; give {new}='kind=a'\\.$"):
        method.load()(chats(False), **{old: "kind=a"})


def test_every_probe_that_compares_classes_calls_them_alike() -> None:
    assert {method.classes for method in METHODS if method.classes} == {("target", "baseline")}
    assert {old for method in METHODS for old in old_words(method.load())} == {
        "positive", "negative", "regular", "jailbreak", "label",
    }  # fmt: skip
