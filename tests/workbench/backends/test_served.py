"""Routing as vLLM and SGLang send it, made from a native capture, must come back as that capture's routing."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner
from workbench_app.cli import app

from probes import ftri
from tests.support import families
from workbench import WorkbenchError, capture
from workbench.backends import store_served
from workbench.store import Store

PROMPTS = [
    {"id": "a", "text": "what happened", "labels": {"kind": "x"}},
    {"id": "b", "text": "calculate 4 + 7", "labels": {"kind": "y"}},
]


@pytest.fixture(scope="module", params=["mixtral", "deepseek_v3"])
def native(request: Any, tmp_path_factory: Any) -> Store:
    model = families.get(request.param)
    into = tmp_path_factory.mktemp("served") / "native"
    return capture(model, PROMPTS, into, generate=4, progress=False)


def sent(store: Store) -> list[dict[str, Any]]:
    """Each request with `experts` [forwarded tokens, layers that route, k], as the model really routed them."""
    tokens, n_prompt = store.tokens, store.prompts.set_index("prompt_id")["n_tokens"]
    by_layer = np.stack([store.routing(layer).expert for layer in store.layers], 1)
    found = []
    for name, rows in tokens.groupby("prompt_id", observed=True):
        ids, n = rows["token_id"].tolist(), int(n_prompt[name])
        experts = by_layer[rows.index][: len(ids) - 1]
        labels = {"kind": "x" if name == "a" else "y"}
        found.append({"id": name, "prompt_ids": ids[:n], "response_ids": ids[n:], "labels": labels, "experts": experts})
    return found


def vllm(request: dict[str, Any], store: Store) -> dict[str, Any]:
    file = io.BytesIO()
    np.save(file, request.pop("experts").astype(np.uint8))
    return request | {"routed_experts": base64.b64encode(file.getvalue()).decode()}


def old_vllm(request: dict[str, Any], store: Store) -> dict[str, Any]:
    experts, n = request.pop("experts"), len(request["prompt_ids"])
    return request | {"prompt_routed_experts": experts[:n].tolist(), "routed_experts": experts[n:].tolist()}


def sglang(request: dict[str, Any], store: Store) -> dict[str, Any]:
    """Flat, every decoder layer, those that do not route as zeros."""
    experts = request.pop("experts")
    whole = np.zeros((len(experts), len(store.anatomy.layers), experts.shape[2]), np.int32)
    whole[:, list(store.layers)] = experts
    return request | {"routed_experts": base64.b64encode(whole.tobytes()).decode()}


def sglang_small(request: dict[str, Any], store: Store) -> dict[str, Any]:
    made = sglang(request, store)
    flat = np.frombuffer(base64.b64decode(made["routed_experts"]), np.int32).astype(np.uint8)
    return made | {"routed_experts": base64.b64encode(flat.tobytes()).decode(), "dtype": "uint8"}


@pytest.mark.parametrize("engine", [vllm, old_vllm, sglang, sglang_small])
def test_it_is_the_native_routing(native: Store, engine: Any, tmp_path: Path) -> None:
    store = store_served(native.anatomy, [engine(r, native) for r in sent(native)], tmp_path / "s")
    keys = ["prompt_id", "sample", "position", "layer", "slot", "expert"]
    wanted = native.table("slots").query("slot >= 0")[keys].astype({"prompt_id": str})
    found = store.table("slots")[keys].astype({"prompt_id": str})
    pd.testing.assert_frame_equal(
        wanted.sort_values(keys, ignore_index=True), found.sort_values(keys, ignore_index=True)
    )
    np.testing.assert_array_equal(store.counts().n, native.counts().n)
    np.testing.assert_array_equal(store.counts().tokens, native.counts().tokens)
    assert store.tokens["token_id"].tolist() == native.tokens["token_id"].tolist()
    assert store.tokens["generated"].tolist() == native.tokens["generated"].tolist()
    assert not store.check()


def test_scores_of_choices_are_the_same_and_weights_are_refused(native: Store, tmp_path: Path) -> None:
    store = store_served(native.anatomy, [vllm(r, native) for r in sent(native)], tmp_path / "s")
    a, b = ftri(native, "kind=x", "kind=y", tokens="prompt"), ftri(store, "kind=x", "kind=y")
    assert any("may be the chat template's and were read" in note for note in b.notes)
    pd.testing.assert_frame_equal(a.frame[["layer", "expert", "score"]], b.frame[["layer", "expert", "score"]])
    assert store.table("slots")["weight"].isna().all()
    assert store.untold == ("weight", "router_logits", "norms", "residual")
    assert (
        {
            *store.untold,
            "logits",
            "outputs",
            "router_inputs",
            "inner",
            "matrices",
            "routers",
            "directions",
            "alignments",
        }
        == {*store.lacks}
        == {*store.info()["lacks"]}
    )
    assert "without weight" in repr(store)
    assert native.untold == ()
    with pytest.raises(WorkbenchError, match="without their routing weights"):
        store.counts(value="weight")
    said = CliRunner().invoke(app, ["store", "info", str(store.path)])
    assert "expert ids alone" in " ".join((said.output + said.stderr).split())  # lines break anywhere


def test_what_does_not_fit_is_one_sentence(native: Store, tmp_path: Path) -> None:
    def refused(match: str, **changes: Any) -> None:
        request = old_vllm(sent(native)[0], native) | changes
        with pytest.raises(WorkbenchError, match=match):
            store_served(native.anatomy, [{k: v for k, v in request.items() if v is not ...}], tmp_path / "s")
        assert not (tmp_path / "s").exists()

    whole = sent(native)[0]["experts"]
    alone = {"prompt_routed_experts": None}
    refused("has no routed_experts; serve with --enable-return-routed-experts", routed_experts=None)
    refused("routing for", prompt_routed_experts=None)
    zeros = whole.copy()
    zeros[2] = 0  # rows that the engine did not fill
    refused(r"experts that cannot be \(\[0, 0", routed_experts=zeros, **alone)
    refused("cannot be", routed_experts=whole + native.anatomy.layer(native.layers[0]).n_experts, **alone)
    refused("selects", routed_experts=whole[:, :, :1], **alone)
    refused("should be integers", routed_experts=whole[:, :1], **alone)
    refused("should be integers", routed_experts=whole.astype(float), **alone)
    refused("no base64", routed_experts="???", **alone)
    for wrong in ("what happened", [0.5], [-1], [2**40], [[1, 2]], ["a"]):
        refused("prompt_ids of .* should be a list of token ids", prompt_ids=wrong)
    refused(
        r"the token id \d+, and .* knows 0-\d+; the requests are another", prompt_ids=[native.anatomy.vocab_size] * 3
    )
    refused("'request-0' has no routed_experts", id=None, routed_experts=None)
    refused("did you mean 'routed_experts'", routed_expert=1)
    same = [old_vllm(r, native) | {"id": "a"} for r in sent(native)]
    with pytest.raises(WorkbenchError, match="an id of its own"):
        store_served(native.anatomy, same, tmp_path / "s")
