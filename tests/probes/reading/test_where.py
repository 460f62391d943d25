"""`where` and classes: which prompts they name, and what cannot be meant."""

import numpy as np
import pytest

from probes.reading import classes, used_prompts
from tests.probes.oracle.cases import Case, empty, label
from tests.probes.oracle.memory import anatomy
from workbench.errors import WorkbenchError


def labelled() -> Case:
    """Six prompts, two samples of one token: a label of prompts, one of samples, and values that hold commas or quotes."""
    rows = empty()
    kinds = ["maths", "maths, easy", '"quoted"', "maths", None, "art"]
    for number, kind in enumerate(kinds):
        prompt = f"p{number}"
        rows["prompts"].append(
            {
                "prompt_id": prompt,
                "n_tokens": 1,
                "split": "ranking" if number < 4 else "heldout",
                "cluster": f"c{number // 2}",
            }
        )
        rows["labels"] += [label(prompt, kind, name="kind")] if kind else []
        rows["labels"].append(label(prompt, "red", name="colour"))
        rows["labels"].append(label(prompt, "blue", sample=1, name="colour"))
        for sample in (0, 1):
            key = {"prompt_id": prompt, "sample": sample, "position": 0}
            rows["tokens"].append({**key, "token": "x", "token_id": 1, "role": "user", "generated": False})
            rows["slots"].append({**key, "layer": 0, "slot": 0, "expert": number % 2, "weight": 1.0})
    return Case(rows, anatomy((2,), 1))


@pytest.mark.parametrize(
    ("where", "used"),
    [
        (None, [0, 1, 2, 3, 4, 5]), ("kind=maths", [0, 3]), ("kind=maths, easy", [1]), ('kind="maths, easy"', [1]),
        ('kind="quoted"', [2]), ("kind=maths,split=ranking", [0, 3]), ("split=heldout , kind=art", [5]),
        ("kind=maths, easy, cluster=c0", [1]), ("prompt_id=p4", [4]), ("cluster=c1,kind=maths", [3]), ('kind="art"', [5]),
    ],
)  # fmt: skip
def test_where_names_prompts(where: str | None, used: list[int]) -> None:
    assert np.flatnonzero(used_prompts(labelled().store, where)).tolist() == used


def test_what_where_cannot_mean_is_said() -> None:
    store = labelled().store
    for where, message in (
        ("kind", r"where='kind' is not known; write name=value, such as split=ranking\."),
        (
            "knd=art",
            r"'memory' has no label 'knd'; it has colour \(12\), kind \(5\) beside pair, split, cluster; did you mean 'kind'\?",
        ),
        (
            "kind=math",
            r"No prompt of 'memory' has kind=math; kind is maths \(2\), \"quoted\" \(1\), art \(1\), maths, easy \(1\); did you",
        ),
        ("split=x", r"No prompt of 'memory' has split=x; split is ranking \(4\), heldout \(2\)\."),
    ):
        with pytest.raises(WorkbenchError, match=message):
            used_prompts(store, where)


def test_classes_of_every_kind() -> None:
    store = labelled().store
    found = classes(store, "blue", "red")  # a sample's own value comes before its prompt's
    assert found.names == ("blue", "red")
    assert found.of_sequence.tolist() == [1, 0] * 6
    assert found.notes == ()
    found = classes(store, "kind=maths", None)
    assert found.names == ("kind=maths", "others")
    assert found.of_sequence.tolist() == [0, 0, 1, 1, 1, 1, 0, 0, -1, -1, 1, 1]
    assert found.notes == ("2 responses are of neither class and were left out",)
    found = classes(store, "maths", None, split_rest=True)
    assert found.names == ("maths", '"quoted"', "art", "maths, easy")
    assert found.of_sequence.tolist() == [0, 0, 3, 3, 1, 1, 0, 0, -1, -1, 2, 2]
    found = classes(store, "blue", "red", where="cluster=c1")
    assert found.of_sequence.tolist() == [-1] * 4 + [1, 0] * 2 + [-1] * 4
    assert found.notes == (), "what where leaves out is not counted"
    with pytest.raises(
        WorkbenchError, match=r"'memory' has 4 of 'maths', 0 of 'art' where split=ranking, and two classes"
    ):
        classes(store, "maths", "art", where="split=ranking")
    with pytest.raises(
        WorkbenchError, match=r"A response of 'memory' is both kind=art and red; name classes that exclude each other\."
    ):
        classes(store, "kind=art", "red")
    with pytest.raises(WorkbenchError, match=r"'art' is a label of 'memory' and 'refused' is not; name two labels\."):
        classes(store, "art", "refused")
    with pytest.raises(
        WorkbenchError, match=r"No response of 'memory' has colour=green; colour is blue \(\d+\), red \(\d+\)\."
    ):
        classes(store, "colour=green", None)
    with pytest.raises(
        WorkbenchError,
        match=r"No label of 'memory' has the value 'mats'; it has colour=",
    ):
        classes(store, "mats", None)


def test_two_labels_make_two_classes() -> None:
    case = labelled()
    for number in range(6):
        case.rows["labels"].append(label(f"p{number}", "yes" if number == 5 else "no", name="judge"))
    found = classes(case.store, "kind=maths", "judge=yes")
    assert found.names == ("kind=maths", "judge=yes")
    assert found.of_sequence.tolist() == [0, 0, -1, -1, -1, -1, 0, 0, -1, -1, 1, 1]
    assert found.notes == ("6 responses are of neither class and were left out",)
