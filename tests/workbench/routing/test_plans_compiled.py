"""A plan as masks, an export and counts of a store of a few rows, by hand."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from tests.support.stores import anatomy
from workbench import Plan
from workbench.errors import WorkbenchError
from workbench.routing import CompiledPlan, LayerEdits, Positions, Replacement, compile_plan
from workbench.store import Store, write_store

CPU = torch.device("cpu")
NAN = float("nan")


def refused(call: Any, *args: Any, **how: Any) -> str:
    with pytest.raises(WorkbenchError) as caught:
        call(*args, **how)
    return str(caught.value)


def forward() -> Positions:
    """One row of three tokens, of which two are the prompt's."""
    return Positions(1, 3, 0, None, torch.tensor([[5, 6, 7]]), CPU, 2)


class TestMasks:
    tokenizer = SimpleNamespace(encode=lambda text, add_special_tokens: {"a": [5], "b": [6], "ab": [5, 6]}[text])

    def edits(self, plan: str, layer: int = 1) -> LayerEdits:
        return compile_plan(Plan.parse(plan), anatomy(n_shared=2), self.tokenizer).routed[layer]

    def test_everywhere(self) -> None:
        made = self.edits("off L1E3; scale L1E0=2; scale L1E1=0.5; bias L1E4=-1.5; force L1E2; mute L1E1")
        found = {kind: made.mask(kind, CPU, None).tolist() for kind in ("off", "force", "mute")}  # type: ignore[union-attr]
        assert found == {"off": [[0, 0, 0, 1, 0]], "force": [[0, 0, 1, 0, 0]], "mute": [[0, 1, 0, 0, 0]]}
        assert made.values("scale", CPU, None).tolist() == [[2, 0.5, 1, 1, 1]]  # type: ignore[union-attr]
        assert made.values("bias", CPU, None).tolist() == [[0, 0, 0, 0, -1.5]]  # type: ignore[union-attr]
        assert made.mask("drop", CPU, None) is None
        assert (made.reroutes, made.weighs, made.is_scoped) == (True, True, False)
        routing = made.router_edits(CPU, None)
        assert routing.shift.tolist() == [[0, 0, 0, -torch.inf, -1.5]]  # type: ignore[union-attr]
        assert made.router_edits(CPU, None) is routing

    def test_some_tokens(self) -> None:
        made = self.edits(
            "scale L1E0=2; scale L1E0=3 in generated; bias L1E1=1 at 0; bias L1E1=2 at 0-1; off L1E3 in prompt"
        )
        assert made.values("scale", CPU, forward()).tolist() == [[2, 1, 1, 1, 1], [2, 1, 1, 1, 1], [6, 1, 1, 1, 1]]  # type: ignore[union-attr]
        assert made.values("bias", CPU, forward())[:, 1].tolist() == [3, 2, 0]  # type: ignore[index]
        assert made.mask("off", CPU, forward())[:, 3].tolist() == [True, True, False]  # type: ignore[index]
        assert made.touched(CPU, forward()).tolist() == [True, True, False]
        assert made.router_edits(CPU, forward()).off is not made.router_edits(CPU, forward()).off
        assert refused(made.mask, "off", CPU, None).startswith(
            "An edit limited to positions needs the base model to run;"
        )
        late = self.edits("off L1E3 between a b")
        assert late.touched(CPU, forward()).tolist() == [True, True, False]

    def test_replacements(self) -> None:
        first, second = self.edits("replace L1E3=[1,2,3,4]; replace L1E0=[5,6,7,8] in prompt").replacements(
            CPU, forward()
        )
        assert (first.expert, first.vector.tolist()) == (0, [[5, 6, 7, 8]])
        assert (second.expert, second.vector.tolist(), second.tokens) == (3, [[1, 2, 3, 4]], None)
        index = torch.tensor([[0, 3], [3, 1], [2, 0]])
        assert first.touches(index).tolist() == [[True, False], [False, False], [False, False]]
        assert second.touches(index).tolist() == [[False, True], [True, False], [False, False]]
        assert self.edits("off L1E0").replacements(CPU, None) == []
        assert isinstance(first, Replacement)

    def test_it_goes_to_plain_data_and_back(self) -> None:
        """Whoever gets the data has neither the model nor its tokenizer, and builds the same masks."""
        text = "off L1E0; scale L2E1=0.1; mute L1S0; bias L1E3=-1.5 in generated at 2-4; replace L2E4=[1,0.3,0,-2] between a b"
        made = compile_plan(Plan.parse(text).for_model(anatomy(n_shared=2)), anatomy(n_shared=2), self.tokenizer)
        data = json.loads(json.dumps(made.to_data()))
        assert {k: data[k] for k in ("n_experts", "spans")} == {
            "n_experts": {"1": 5, "2": 5},
            "spans": [["a", "b", 5, 6]],
        }
        again = CompiledPlan.from_data(data)
        assert again == made
        assert again.plan.fingerprint == anatomy(n_shared=2).fingerprint
        assert again.shared[1, 0].n_experts == 1

    @pytest.mark.parametrize(
        ("plan", "needs"),
        [
            ("off L1E0", (False, False, False)),
            ("off L1E0 at 0", (True, False, False)),
            ("off L1E0 in prompt", (True, True, False)),
            ("off L1E0 between a b", (True, True, True)),
            ("replace L1E0=[1,2,3,4]", (True, False, False)),
        ],
    )
    def test_what_must_be_known(self, plan: str, needs: tuple[bool, ...]) -> None:
        made = compile_plan(Plan.parse(plan), anatomy(), self.tokenizer)
        assert (made.needs_positions, made.needs_generate, made.has_spans) == needs

    def test_layers_and_shared_experts(self) -> None:
        made = compile_plan(
            Plan.parse("off L2E0; mute L1S1; scale L1S1=2 in prompt"), anatomy(n_shared=2), self.tokenizer
        )
        assert list(made.routed) == [2]
        assert list(made.shared) == [(1, 1)]
        assert made.shared[1, 1].mask("mute", CPU, None).tolist() == [[False, True]]  # type: ignore[union-attr]
        assert made.shared[1, 1].values("scale", CPU, forward()).tolist() == [[1, 2], [1, 2], [1, 1]]  # type: ignore[union-attr]
        for plan, said in (
            (
                "replace L1E0=mean",
                "replace L1E0=mean: the mean is over a store; resolve it with plan.with_means(store) first.",
            ),
            ("off L1E0 between a ab", "'ab' is 2 tokens here, and a span opens and closes with one token each."),
        ):
            assert refused(compile_plan, Plan.parse(plan), anatomy(), self.tokenizer) == said
        assert refused(compile_plan, Plan.parse("off L1E0 between a b"), anatomy(), None) == (
            "Edits between a and b need a tokenizer; load the model with one."
        )


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
