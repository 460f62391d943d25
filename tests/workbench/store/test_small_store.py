"""An export, counts and labels of a store of a few rows, by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.support.refusals import refused
from tests.support.stores import anatomy
from workbench.store import Store, write_store

NAN = float("nan")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Prompts q (two tokens) and p (one, and a sample of its own each); layer 2 routes q alone."""
    keys = [("q", 0, 0), ("q", 0, 1), ("p", 0, 0), ("q", 1, 0), ("p", 1, 0)]
    rows = [
        *((*keys[0], 1, 0, 4, 0.5, 7.0, 3), (*keys[0], 1, 1, 2, 0.25, 8.0, 1), (*keys[1], 1, 0, 0, 1.0, NAN, None)),
        *(
            (*keys[2], 1, 0, 4, 0.75, 9.0, 2),
            (*keys[3], 1, 0, 3, 0.5, 2.0, 1),
            (*keys[3], 2, 0, 1, 0.125, 1.0, 0),
            (*keys[3], 2, -1, -1, 1.0, 5.0, 0),
        ),
    ]
    names = ["prompt_id", "sample", "position", "layer"]
    slots = pd.DataFrame(rows, columns=[*names, "slot", "expert", "weight", "output_l2", "output_argmax"])
    slots["output_argmax"] = slots["output_argmax"].astype("Int32")
    tables = {
        "prompts": pd.DataFrame({"prompt_id": ["q", "p"], "text": ["a b", "c"], "n_tokens": [2, 1]}),
        "tokens": pd.DataFrame(keys, columns=names[:3]).assign(token_id=[10, 11, 12, 13, 14]),
        "slots": slots,
        "residual": pd.DataFrame([(*keys[1], -1, 2.5), (*keys[1], 0, 3.5)], columns=[*names, "l2"]),
        "logits": pd.DataFrame([(*keys[0], 1, [1.0, 2, 3, 4, 5])], columns=[*names, "router_logits"]),
    }
    return write_store(tmp_path / "s", anatomy(), tables)


def test_an_export(store: Store) -> None:
    """Rows: q 0 at 0 and 1, q 1 at 0, p 0 at 0, p 1 at 0."""
    found: Any = store.export()
    plain = {name: np.where(np.isnan(a), -9, a).tolist() for name, a in found.items()}
    assert plain == {
        "tokens": [10, 11, 13, 12, 14],
        "prompt": [0, 0, 0, 1, 1],
        "sample": [0, 0, 1, 0, 1],
        "position": [0, 1, 0, 0, 0],
        "blocks.1.mlp.hook_expert_indices": [[4, 2], [0, -1], [3, -1], [4, -1], [-1, -1]],
        "blocks.1.mlp.hook_expert_weights": [
            [0, 0, 0.25, 0, 0.5],
            [1, 0, 0, 0, 0],
            [0, 0, 0, 0.5, 0],
            [0, 0, 0, 0, 0.75],
            [0] * 5,
        ],
        "blocks.1.mlp.output_l2": [[7, 8], [-9, -9], [2, -9], [9, -9], [-9, -9]],
        "blocks.1.mlp.output_argmax": [[3, 1], [-1, -1], [1, -1], [2, -1], [-1, -1]],
        "blocks.2.mlp.hook_expert_indices": [[-1], [-1], [1], [-1], [-1]],
        "blocks.2.mlp.hook_expert_weights": [[0] * 5, [0] * 5, [0, 0.125, 0, 0, 0], [0] * 5, [0] * 5],
        "blocks.2.mlp.output_l2": [[-9], [-9], [1], [-9], [-9]],
        "blocks.2.mlp.output_argmax": [[-1], [-1], [0], [-1], [-1]],
        "blocks.-1.resid_post.l2": [-9, 2.5, -9, -9, -9],
        "blocks.0.resid_post.l2": [-9, 3.5, -9, -9, -9],
        "blocks.-1.resid_post.argmax": [-1] * 5,
        "blocks.0.resid_post.argmax": [-1] * 5,
        "blocks.1.mlp.gate.hook_out": [[1, 2, 3, 4, 5], *[[-9] * 5] * 4],
    }
    one: Any = store.export(prompt="q", sample=1)
    assert (one["tokens"].tolist(), one["blocks.2.mlp.hook_expert_indices"].tolist()) == ([13], [[1]])


def test_an_exported_file_and_what_cannot_be(store: Store, tmp_path: Path) -> None:
    path = store.export(tmp_path / "a.npz")
    assert isinstance(path, Path)
    with np.load(path) as found:
        assert found["tokens"].tolist() == [10, 11, 13, 12, 14]
        about = {name: str(found[name]) for name in ("model", "fingerprint", "steering", "prompt_ids")}
    assert about == {
        "model": "synthetic",
        "fingerprint": anatomy().fingerprint,
        "steering": "nothing",
        "prompt_ids": '["q", "p"]',
    }
    for how, said in (
        ({"to": "a.pt"}, "export(to='a.pt') is neither numpy nor torch nor a path that ends in .npz or .safetensors."),
        ({"to": 3}, "export(to=...) takes 'numpy', 'torch' or a path, not a int."),
        (
            {"to": tmp_path / "no/a.npz"},
            f"There is no folder '{tmp_path / 'no'}' to write 'a.npz' into; make it first.",
        ),
        (
            {"prompt": "x"},
            f"The store '{store.path}' has no sample 0 of a prompt 'x'; it has 2 prompts ('q', ...) with samples 0-1.",
        ),
        ({"prompt": "q", "sample": 2}, f"The store '{store.path}' has no sample 2 of a prompt 'q'; it has 2 prompts"),
        ({"prompt": "q", "sample": -1}, f"The store '{store.path}' has no sample -1 of"),
    ):
        assert refused(store.export, **how).startswith(said)


def test_counts(store: Store) -> None:
    found = store.counts()
    assert (found.layers, found.tokens.tolist()) == ((1, 2), [3, 1])
    assert found.n.tolist() == [[[1, 0, 1, 1, 1], [0, 1, 0, 0, 0]], [[0, 0, 0, 0, 1], [0] * 5]]
    weights = store.counts(value="weight", layers=[1])
    assert weights.n.tolist() == [[[1, 0, 0.25, 0.5, 0.5]], [[0, 0, 0, 0, 0.75]]]
    groups = np.array([3, 0, 1, 0, -1])  # q 0 at 0 | q 0 at 1 with p 0 | q 1 | p 1 left out
    by = store.counts(by=groups)
    assert by.tokens.tolist() == [2, 1, 0, 1]
    assert by.n[:, 0].tolist() == [[1, 0, 0, 0, 1], [0, 0, 0, 1, 0], [0] * 5, [0, 0, 1, 0, 1]]
    some = store.counts(tokens=np.array([True, False, True, True, True]))
    assert (some.tokens.tolist(), some.n[0, 0].tolist()) == ([2, 1], [0, 0, 1, 1, 1])
    many = np.full(5, -1)
    many[0] = 2_000
    assert store.counts(by=many).n[2_000, 0].tolist() == [0, 0, 1, 0, 1]
    assert refused(store.counts, by="x") == "counts(by='x') is not known; use 'prompt' or an array of group numbers."
    assert refused(store.counts, tokens=np.ones(4, bool)) == (
        "counts(tokens=...) has shape [4]; it needs one value for each of the 5 rows of store.tokens."
    )


def test_labels_as_they_are_stored(store: Store) -> None:
    store.add_labels("x/y", {"q": True, "p": None}, "me")
    store.add_labels("n", pd.DataFrame({"prompt_id": ["p", "p"], "sample": [1, None], "value": [2, "three"]}), "you")
    assert json.loads(store.labels.to_json(orient="values")) == [
        ["p", 1, "n", "2", "you"],
        ["p", None, "n", "three", "you"],
        ["q", None, "x/y", "true", "me"],
    ]
    assert sorted(file.name for file in (store.path / "labels").iterdir()) == ["n.parquet", "x%2Fy.parquet"]
    for values, said in (
        ({"q": [1]}, "Labels 'z' give 'q' [1]; give one value."),
        ({"r": 1}, f"Labels 'z' name the prompt 'r', which '{store.path}' does not have."),
        ([1, 2], "Labels 'z' are given as the list; give {prompt id: value}, or rows with prompt_id and value."),
        (
            pd.DataFrame({"prompt_id": ["q"], "sample": [2], "value": [1]}),
            f"Labels 'z' name sample 2 of 'q'; '{store.path}' has samples 0-1.",
        ),
    ):
        assert refused(store.add_labels, "z", values, "me") == said
    assert refused(store.add_labels, "n", {"q": 1}, "me") == (
        f"'{store.path}' already has labels 'n'; pass replace=True to exchange them."
    )
    store.add_labels("l" * 200, {"q": 1}, "me")
    assert refused(store.add_labels, "l" * 201, {"q": 1}, "me").endswith(
        "choose another name (not 'given', not empty)."
    )
