"""Commas in `where`, and labels in columns."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from probes import usage
from probes.reading import used_prompts
from tests.support import families
from workbench import WorkbenchError, capture

KINDS = ["maths, easy", "maths", "b,split=x", 'say "a, b"', "maths"]
SPLITS = ["x", "y", "x", "y", "x"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Any:
    rows = [
        {"text": f"t{i}", "split": split, "label.kind": kind}
        for i, (kind, split) in enumerate(zip(KINDS, SPLITS, strict=True))
    ]
    return capture(families.get("olmoe"), rows, tmp_path_factory.mktemp("where") / "s", progress=False)


@pytest.mark.parametrize(
    ("where", "used"),
    [
        ("kind=maths, easy", [0]),
        ("kind=maths", [1, 4]),
        ("kind=maths,split=x", [4]),
        (" split = x , kind=maths, easy ", [0]),
        ("kind=maths, easy,split=y", []),
        ('kind="maths, easy"', [0]),
        ('kind="b,split=x"', [2]),
        ("kind=b,split=x", [2]),
        ('kind=say "a, b", split=y', [3]),
        ("prompt_id=p00001", [1]),
    ],
)
def test_where_with_commas(store: Any, where: str, used: list[int]) -> None:
    assert np.flatnonzero(used_prompts(store, where)).tolist() == used


def test_scores_of_a_value_with_a_comma(store: Any) -> None:
    found, tokens = usage(store, tokens="all", where="kind=maths, easy", n_bootstrap=0), store.tokens
    n_tokens = int((tokens["prompt_id"] == "p00000").sum())
    assert int(found.frame["n"].to_numpy().sum()) == n_tokens * sum(
        store.anatomy.layer(layer).top_k for layer in store.layers
    )


@pytest.mark.parametrize(
    ("where", "sentence"),
    [
        ("kind=maths, hard", r"has kind=maths, hard; kind is .*did you mean 'maths, easy'\?$"),
        ("kind=none,split=x", "has kind=none; kind is"),
        ("kind=maths,colour=red", "has kind=maths,colour=red; kind is"),
        (",", "write name=value"),
        ("maths, easy", "where='maths' is not known"),
    ],
)
def test_where_that_matches_nothing(store: Any, where: str, sentence: str) -> None:
    with pytest.raises(WorkbenchError, match=sentence):
        used_prompts(store, where)


def test_a_where_that_is_no_text_is_one_sentence(tmp_path: Path) -> None:
    from tests.support.stores import random_store

    store = random_store(tmp_path / "s")
    wrong: Any = {"kind": "maths, easy"}
    with pytest.raises(WorkbenchError, match="where is a dict; write it as text, such as 'split=ranking"):
        usage(store, where=wrong)
