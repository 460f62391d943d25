"""What the methods accept and refuse: targets, tokens, clusters, filters, and stores from disk."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import probes
from probes import co_selection, contrast, ftri, npmi, super_experts, usage
from tests.probes.oracle.cases import Case, empty, golden, label, random_case
from tests.probes.oracle.checks import QUICK, scores
from tests.probes.oracle.memory import anatomy, disk_store, memory_store
from workbench.errors import WorkbenchError
from workbench.responses import Refusal
from workbench.store import Store

METHODS = {
    "ftri": lambda store: ftri(store, "refused", "answered", n_permutations=20, n_bootstrap=20),
    "contrast": lambda store: contrast(store, "refused", "answered", n_permutations=20, n_bootstrap=20),
    "npmi": lambda store: npmi(store, token="what", n_permutations=20, n_bootstrap=20),
    "usage": lambda store: usage(store, n_bootstrap=20),
    "super_experts": lambda store: super_experts(store),
}


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_store_on_disk_gives_the_same_scores(method: str, tmp_path: Path) -> None:
    case = random_case(6, n_prompts=8)
    on_disk = METHODS[method](disk_store(tmp_path / "store", case.anatomy, case.rows))
    pd.testing.assert_frame_equal(on_disk.frame, METHODS[method](case.full_store).frame)
    assert on_disk.fingerprint == case.anatomy.fingerprint


def spoken(texts: dict[str, str]) -> Store:
    """Two-token prompts with the given responses; no label says refused."""
    rows = empty()
    for number, (prompt, text) in enumerate(texts.items()):
        rows["prompts"].append({"prompt_id": prompt, "n_tokens": 2, "cluster": f"c{number // 2}", "split": "ranking"})
        rows["labels"].append(label(prompt, "war" if number % 2 else "peace", name="topic"))
        for position, word in enumerate(["hi", "?", *text.split(" ")]):
            key = {"prompt_id": prompt, "sample": 0, "position": position}
            role = "user" if position < 2 else "assistant"
            spaced = word if position < 3 else f" {word}"
            rows["tokens"].append({**key, "token": spaced, "token_id": 1, "role": role, "generated": position >= 2})
            expert = int("cannot" in text) if position < 2 else 2
            rows["slots"].append({**key, "layer": 0, "slot": 0, "expert": expert, "weight": 1.0})
    return memory_store(anatomy((4,), 1), rows)


SPOKEN = {"a": "I cannot answer .", "b": "Paris .", "c": "I cannot help .", "d": "Rome ."}


def test_refused_needs_no_label_when_responses_are_there() -> None:
    found = ftri(spoken(SPOKEN), target="refused", baseline="answered", **QUICK)
    assert scores(found)[0, 1] == (1.0, 4)
    assert any("responses classified by the rules" in note for note in found.notes)


def test_a_classifier_or_a_function_can_name_the_classes() -> None:
    store = spoken(SPOKEN)
    by_function = ftri(store, lambda response: "cannot" in response, **QUICK)
    by_classifier = ftri(store, "refused", "answered", classifier=Refusal(phrases=("cannot",)), **QUICK)
    assert scores(by_function) == scores(by_classifier) == scores(ftri(store, "refused", "answered", **QUICK))


def test_a_name_and_value_can_be_the_target() -> None:
    assert scores(ftri(spoken(SPOKEN), "topic=war", **QUICK)) == scores(ftri(spoken(SPOKEN), "war", "peace", **QUICK))


def test_where_chooses_prompts() -> None:
    found = usage(spoken(SPOKEN), where="cluster=c0, topic=peace", tokens="prompt", n_bootstrap=0)
    assert scores(found)[0, 1] == (1.0, 2)


REFUSED = [
    (
        lambda s: ftri(s, "refusd", "answered"),
        r"has the value 'refusd'; it has verdict=answered \(2\), verdict=refused \(2\); did you mean 'refused'",
    ),
    (
        lambda s: ftri(s, "verdict=maybe"),
        r"No response .* has verdict=maybe; verdict is answered \(2\), refused \(2\)\.",
    ),
    (lambda s: ftri(s, "refused", "answered", reduce="mean"), "reduce='mean' is not known; it can be rate, weight"),
    (lambda s: ftri(s, "refused", "answered", contrast="x"), "contrast='x' is not known"),
    (
        lambda s: ftri(s, "refused", "answered", tokens="promt"),
        r"tokens='promt' is not known; it can be content \(16\), prompt_content \(8\), .*did you mean 'prompt'",
    ),
    (lambda s: ftri(s, "refused", "answered", tokens=np.ones(3, bool)), "one bool for each of the 16 rows"),
    (lambda s: ftri(s, "refused", "answered", permute="x"), "permute='x' is not known"),
    (lambda s: ftri(s, "refused", "answered", permute="clusters"), "needs prompts that name a cluster; none does"),
    (lambda s: ftri(s, "refused", "answered", cluster="place"), "cluster='place' is not known"),
    (lambda s: ftri(s, "refused", "answered", adjust="x"), "adjusted by max"),
    (lambda s: ftri(s, "refused", "answered", where="pair=x,pair=y"), "has 0 of 'refused', 0 of 'answered'"),
    (lambda s: ftri(s, "refused", "answered", where="pair=q"), "No prompt of 'memory' has pair=q"),
    (lambda s: ftri(s, "refused", "answered", where="pair"), "write name=value"),
    (lambda s: ftri(s, "refused", "answered", where="place=x"), "has no label 'place'"),
    (
        lambda s: ftri(s, "refused", "answered", roles="tool"),
        r"No token of 'memory' is in tokens='prompt' with role tool; read other tokens: their roles are user \(8\)\.",
    ),
    (lambda s: ftri(s, "refused", "answered", roles="usr"), r"'usr' is no role of a token; here they are user \(8\), "),
    (
        lambda s: ftri(s, "verdct=refused"),
        r"'memory' has no label 'verdct'; it has verdict \(4\); did you mean 'verdict'",
    ),
    (lambda s: contrast(s, "refused", "answered", pooling="x"), "pooling='x' is not known"),
    (lambda s: npmi(s, {"<think>": 1}, token="x"), "was given markers and token"),
    (lambda s: npmi(s, {}), "was given no marker"),
    (lambda s: npmi(s, token="thonk"), "The marker 'thonk' is at none of the 12 tokens.*<think>"),
    (lambda s: npmi(s, token=99), "The marker '99' is at none"),
    (lambda s: usage(s, measure="x"), "measure='x' is not known"),
    (lambda s: super_experts(s, "x"), "rule='x' is not known"),
    (lambda s: super_experts(s), "kept no residual.*keep={'norms', 'residual'}"),
    (lambda s: co_selection(s, 0), "Layer 0 of 'memory' has no slots; it has layers 1, 2"),
]


@pytest.mark.parametrize(("ask", "message"), REFUSED)
def test_what_cannot_be_asked_is_refused_in_a_sentence(ask: Any, message: str) -> None:
    with pytest.raises(WorkbenchError, match=message):
        ask(golden().store)


def test_a_value_of_two_labels_is_ambiguous() -> None:
    case = golden()
    case.rows["labels"].append(label("a", "refused", name="judge"))
    with pytest.raises(WorkbenchError, match="'refused' is a value of judge, verdict in 'memory'; say which"):
        ftri(case.store, "refused")


def test_pairs_are_needed_for_pairs() -> None:
    case = golden()
    for row in case.rows["prompts"]:
        row["pair"] = None
    with pytest.raises(WorkbenchError, match="no pair with a response on both sides"):
        contrast(case.store, "refused", "answered", pooling="pairs")
    with pytest.raises(WorkbenchError, match="No pair of 'memory' has two compared prompts that end alike"):
        contrast(case.store, "refused", "answered", tokens="shared_end")


def test_shared_end_reads_the_question_after_a_document() -> None:
    rows = empty()
    for prompt, words, expert in (("with", ["doc", "red", "ask", "me"], 1), ("without", ["ask", "me"], 0)):
        rows["prompts"].append({"prompt_id": prompt, "pair": "x", "n_tokens": len(words)})
        rows["labels"].append(label(prompt, prompt))
        for position, word in enumerate(words):
            key = {"prompt_id": prompt, "sample": 0, "position": position}
            rows["tokens"].append({**key, "token_id": ord(word[0]), "role": "user", "generated": False})
            chosen = 2 if word in ("doc", "red") else expert
            rows["slots"].append({**key, "layer": 0, "slot": 0, "expert": chosen, "weight": 1.0})
    found = contrast(memory_store(anatomy((3,), 1), rows), "with", "without", tokens="shared_end", **QUICK)
    assert scores(found) == {(0, 0): (-1.0, 2), (0, 1): (1.0, 2), (0, 2): (0.0, 0)}


def test_a_marker_of_several_tokens_counts_once_at_its_last() -> None:
    case = golden()
    for row in case.rows["tokens"]:  # "what is" is spelled by two tokens in a, b and d
        row["token"] = {"is": " is"}.get(row["token"], row["token"])
    found = npmi(case.store, token="what is", **QUICK)
    assert any(note.startswith("what is: 3 occurrences in 3 responses") for note in found.notes)
    # the second tokens of a, b, d: {0,2} {1,2} {0,1} of layer 1, where K = 8 of T = 12 for each expert; k = 2 of M = 3
    expected = np.log2((2 / 3) / (8 / 12)) / np.log2(12 / 2)
    assert scores(found)[1, 0][0] == pytest.approx(expected, abs=1e-9) == 0


def test_labels_and_roles_can_stand_for_tokens() -> None:
    by_token = npmi(golden().store, token="<think>", **QUICK)
    assert scores(npmi(golden().store, role="think", **QUICK)) == scores(by_token)
    by_label = npmi(golden().store, target="refused", n_permutations=100, n_bootstrap=0)
    # 3 prompt tokens and 2 computed answers of a and c: M = 5 of T = 12; L2E2 there: a's and c's answer: k = 2, K = 5
    assert scores(by_label)[2, 2][0] == pytest.approx(np.log2((2 / 5) / (5 / 12)) / np.log2(12 / 2))
    assert by_label.frame["p"].between(0, 1).sum() == 8  # all but the dead expert have a null score; it has p 1
    assert any("labels exchanged" in note for note in by_label.notes)


def test_marker_shifts_agree_with_every_shift_by_hand() -> None:
    # one response of 4 tokens, the marker at the first, the expert at the first and third: k is 1 at steps 0 and 2
    rows = empty()
    rows["prompts"] = [{"prompt_id": "p", "n_tokens": 4}]
    for position, expert in enumerate((0, 1, 0, 1)):
        key = {"prompt_id": "p", "sample": 0, "position": position}
        rows["tokens"].append({**key, "token": "mx"[position > 0], "role": "user", "generated": False})
        rows["slots"].append({**key, "layer": 0, "slot": 0, "expert": expert, "weight": 1.0})
    found = npmi(memory_store(anatomy((2,), 1), rows), token="m", n_permutations=2000, n_bootstrap=0)
    # k/M - K/T is 1/2 or -1/2 at every step: always as far from the mean
    assert found.frame["p"].tolist() == [1, 1]


def strong_marker(n_prompts: int, length: int = 12) -> Case:
    rng, rows = np.random.default_rng(0), empty()
    for number in range(n_prompts):
        prompt, place = f"p{number}", int(rng.integers(length))
        rows["prompts"].append({"prompt_id": prompt, "n_tokens": length})
        for position in range(length):
            key = {"prompt_id": prompt, "sample": 0, "position": position}
            token = "<m>" if position == place else "x"
            rows["tokens"].append({**key, "token": token, "role": "user", "generated": False})
            expert = 3 if token == "<m>" else int(rng.integers(8))
            rows["slots"].append({**key, "layer": 0, "slot": 0, "expert": expert, "weight": 1.0})
    return Case(rows, anatomy((8,), 1))


def test_a_planted_marker_expert_is_found() -> None:
    found = npmi(strong_marker(15).store, token="<m>", n_permutations=200, n_bootstrap=100)
    first = found.frame.iloc[0]
    assert (first["expert"], first["p_adjusted"]) == (3, 1 / 201)
    assert first["low"] <= first["score"] <= first["high"]
    assert (found.frame["p_adjusted"][1:] > 0.05).all()


def test_length_is_told_by_class() -> None:
    notes = ftri(golden().store, "refused", "answered", **QUICK).notes
    assert "refused: 2 responses, 1.5 tokens read on average" in notes
    assert "answered: 2 responses, 2.5 tokens read on average" in notes


def test_relabelling_follows_pairs_then_clusters_then_prompts() -> None:
    case = random_case(1, n_prompts=12)
    verdicts = [label(f"p{i}", "refused" if i % 2 else "answered") for i in range(12)]
    for keys, expected in ((("pair",), "pairs"), (("cluster",), "clusters"), ((), "prompts")):
        rows = {**case.rows, "labels": verdicts}
        rows["prompts"] = [
            {**r, "pair": None, **dict.fromkeys(keys, f"k{i // 2}")} for i, r in enumerate(case.rows["prompts"])
        ]
        found = ftri(Case(rows, case.anatomy).store, "refused", "answered", n_permutations=20, n_bootstrap=20)
        assert found.options["permute"] == expected
    rows["labels"] = [label(f"p{i}", "refused" if i // 2 % 2 else "answered") for i in range(12)]
    rows["prompts"] = [{**r, "cluster": f"k{i // 2}"} for i, r in enumerate(rows["prompts"])]
    assert ftri(Case(rows, case.anatomy).store, "refused", "answered", **QUICK).options["permute"] == "whole_clusters"


def test_p_is_null_with_the_reason_when_nothing_can_be_exchanged() -> None:
    case = golden()
    for row in case.rows["prompts"]:
        row["pair"] = {"a": "x", "c": "x", "b": "y", "d": "y"}[row["prompt_id"]]
    found = ftri(case.store, "refused", "answered", permute="pairs", n_permutations=20, n_bootstrap=20)
    assert found.frame["p"].isna().all()
    assert any("no p-value: no two units that may exchange labels differ in class" in note for note in found.notes)


def test_probes_need_neither_torch_nor_duckdb() -> None:
    import subprocess
    import sys

    heavy = "{'torch', 'transformers', 'duckdb', 'scipy'}"
    code = f"import sys, workbench.responses; from probes import *; print({heavy} & {{*sys.modules}})"
    root = Path(probes.__file__).parent.parent
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert out.stdout.strip() == "set()"
