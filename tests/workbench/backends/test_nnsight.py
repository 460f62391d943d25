"""`load(engine="nnsight")`: a store from traces equals the native one, here and on a server that has no workbench."""

import copy
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.support import families
from tests.support.families import slow
from workbench import Plan, Store, WorkbenchError, capture, load, steered
from workbench.model import MoEModel

pytestmark = pytest.mark.skipif(not find_spec("nnsight"), reason="the extra 'interop' is not installed (nnsight)")

SOME = ("demo", "deepseek_v3", "gpt_oss", "mixtral", "qwen2_moe")
PROMPTS = [{"id": "a", "text": "what happened"}, {"id": "b", "text": "calculate 4 + 7"}, {"id": "c", "text": "x"}]
EVERYTHING = {"norms", "residual", "logits", "outputs", "router_input"}
TABLES = ("tokens", "slots", "residual", "logits", "outputs", "router_inputs")
KEYS = ["prompt_id", "sample", "position", "layer", "slot"]
VERSIONS = {name: version(name) for name in ("torch", "transformers", "nnsight")}


def traced(name: str) -> MoEModel:
    """Half of them are wrapped by us, half by the user."""
    from nnsight import TransformersModel

    model = families.get(name)
    hf = copy.deepcopy(model.hf)
    if name == "mixtral":
        return load(hf, model.tokenizer, engine="nnsight")
    return load(TransformersModel(hf, task="text-generation", tokenizer=model.tokenizer), engine="nnsight")


def check_equal(a: Store, b: Store, tables: tuple[str, ...] = TABLES) -> None:
    """Same rows, same integers and texts, same nulls; numbers within 1e-5 of the column's largest."""
    for table in tables:
        x, y = (_sorted(store.table(table)) for store in (a, b))
        assert len(x) == len(y) > 0, table
        for column in x:
            _check_column(x[column], y[column], f"{table}.{column}")


def _sorted(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.sort_values([key for key in KEYS if key in frame], ignore_index=True)


def _check_column(x: pd.Series, y: pd.Series, name: str) -> None:
    assert x.isna().equals(y.isna()), name
    if name in ("logits.router_logits", "outputs.output", "router_inputs.router_input"):
        x, y = (pd.Series(np.concatenate(list(column))) for column in (x, y))
    if x.dtype.kind != "f":
        assert x.astype(str).equals(y.astype(str)), name
    elif not x.isna().all():
        assert (x - y).abs().max() < 1e-5 * x.abs().max(), name


@pytest.mark.parametrize("remote", [False, "local"])
@pytest.mark.parametrize("name", slow(SOME, ("demo",)))
def test_every_column_is_the_native_captures(name: str, remote: bool | str, tmp_path: Path) -> None:
    """With remote="local", nnsight sends the trace through its serialisation and reads it back with our modules hidden."""
    model = load(skeleton(tmp_path / "model", name), remote="local") if remote else traced(name)
    options: dict[str, Any] = {"keep": EVERYTHING, "generate": 4, "progress": False, "batch_tokens": 40}
    native = capture(families.get(name), PROMPTS, tmp_path / "native", **options)
    found = capture(model, PROMPTS, tmp_path / "traced", **options)
    check_equal(native, found)
    assert (native.plan_json["backend"], found.plan_json["backend"]) == ("native", "nnsight")
    assert native.tokens["generated"].any()


def test_a_trace_answers_by_the_generation_config_too(tmp_path: Path) -> None:
    """Also where its prompts are of different lengths: padding is no word that was said."""
    options: dict[str, Any] = {"generate": 6, "progress": False}
    free = capture(families.get("mixtral"), PROMPTS, tmp_path / "free", **options)
    first = free.tokens.query("prompt_id == 'c' and generated")["token_id"].tolist()[:2]  # ends that come too early
    models = {"native": families.build("mixtral"), "nnsight": traced("mixtral")}
    for model in models.values():
        model.hf.generation_config.update(min_length=6, eos_token_id=first, repetition_penalty=1.01)
    native, found = (capture(m, PROMPTS, tmp_path / b, **options) for b, m in models.items())
    check_equal(native, found, ("tokens", "slots"))
    assert native.tokens["token_id"].tolist() != free.tokens["token_id"].tolist()
    models["nnsight"].hf.generation_config.stop_strings = ["x"]
    with pytest.raises(WorkbenchError, match=r"cannot heed stop_strings .* \(a trace cannot look for them\)"):
        capture(models["nnsight"], PROMPTS, tmp_path / "stops", **options)


def test_given_responses_chosen_layers_and_experts(tmp_path: Path) -> None:
    model, options = families.get("qwen2_moe"), {"keep": {"outputs", "logits"}, "layers": [1], "progress": False}
    options |= {"experts": ["L1E2", "L1E5", "L1S0"], "responses": {"a": "this", "b": "11", "c": "y"}}
    native = capture(model, PROMPTS, tmp_path / "native", **options)
    found = capture(traced("qwen2_moe"), PROMPTS, tmp_path / "traced", **options)
    check_equal(native, found, ("tokens", "slots", "logits", "outputs"))
    assert set(found.table("outputs")["expert"]) == {2, 5, -1}


def test_what_a_trace_cannot_do_is_refused(tmp_path: Path) -> None:
    model = traced("mixtral")

    def refused(call: Any) -> str:
        with pytest.raises(WorkbenchError) as said:
            call()
        assert "\n" not in str(said.value)
        return str(said.value)

    def captured(**options: Any) -> str:
        return refused(lambda: capture(model, PROMPTS, tmp_path / "s", progress=False, **options))

    assert "'nnsight' cannot make 'off L0E1' (they are made by hooks" in captured(plan=Plan.off("L0E1"))
    assert "'nnsight' cannot sample at temperature 1 (each response's seed" in captured(generate=2, temperature=1.0)
    assert "was made from a model in this process" in refused(lambda: load(wrapped_by_hand("mixtral"), remote=True))
    assert "remote goes with engine='nnsight'" in refused(lambda: load("demo", engine="native", remote=True))
    assert "load(backend=...) is not a word any more" in refused(lambda: load("demo", backend="nnsight"))
    assert "outside of transformers' experts interface" in refused(lambda: wrapped_tiny("dbrx"))
    assert not (tmp_path / "s").exists()


def wrapped_by_hand(family: str) -> Any:
    from nnsight import TransformersModel

    from workbench.loading import tiny_model, tiny_tokenizer

    return TransformersModel(tiny_model(family), task="text-generation", tokenizer=tiny_tokenizer())


def wrapped_tiny(family: str) -> MoEModel:
    return load(wrapped_by_hand(family), engine="nnsight")


def test_identity_experts_are_captured_without_sizes_and_refused_with_them(tmp_path: Path) -> None:
    model = wrapped_tiny("longcat_flash")
    with pytest.raises(WorkbenchError, match=r"cannot record norms \(its zero \(identity\) experts"):
        capture(model, PROMPTS, tmp_path / "no", progress=False, keep={"norms"})
    assert not (tmp_path / "no").exists()
    bare = capture(model, PROMPTS, tmp_path / "bare", progress=False)
    assert "its zero (identity) experts are no module" in bare.lacks["norms"]
    here = capture(load(model.hf, model.tokenizer), PROMPTS, tmp_path / "here", progress=False, keep={"logits"})
    there = capture(model, PROMPTS, tmp_path / "there", progress=False, keep={"logits"})
    ours, theirs = (store.table("slots", columns=["layer", "slot", "expert"]) for store in (here, there))
    assert len(ours)
    assert ours.equals(theirs)


def test_a_store_goes_on_with_the_engine_it_was_begun_with(tmp_path: Path) -> None:
    capture(families.get("mixtral"), PROMPTS, tmp_path / "s", progress=False)
    with pytest.raises(WorkbenchError, match=r"another engine \(native there, nnsight here\)"):
        capture(traced("mixtral"), PROMPTS, tmp_path / "s", progress=False)


# ---- weights that are elsewhere


def skeleton(folder: Path, name: str) -> Any:
    """An nnsight model of a checkpoint whose weights nobody loaded."""
    from nnsight import TransformersModel

    model = families.get(name)
    model.hf.save_pretrained(folder)
    wrapped = TransformersModel(str(folder), task="text-generation", tokenizer=model.tokenizer)
    assert next(wrapped._module.parameters()).is_meta
    return wrapped


@pytest.mark.parametrize("name", slow(("demo", "deepseek_v3"), ("deepseek_v3",)))
def test_a_model_that_is_not_here_has_the_same_anatomy_and_fingerprint(name: str, tmp_path: Path) -> None:
    here, far = families.get(name), load(skeleton(tmp_path, name), remote="local")
    assert far.anatomy.fingerprint == here.anatomy.fingerprint
    for a, b in zip(here.anatomy.layers, far.anatomy.layers, strict=True):
        assert (a.rule, a.n_experts, a.top_k, a.n_shared, a.notes) == (
            b.rule,
            b.n_experts,
            b.top_k,
            b.n_shared,
            b.notes,
        )
        assert not a.is_moe or "on NDIF" in b.refused["off"]
    assert far.runtime.multipliers == here.runtime.multipliers
    with pytest.raises(WorkbenchError, match="are on NDIF, not here"), steered(far, Plan.off("L1E1")):
        pass
    with pytest.raises(WorkbenchError, match="nnsight could not read 'owner/name'"):
        load("owner/name", remote=True)
    with pytest.raises(WorkbenchError, match="takes a hub id, or an nnsight model named by one"):
        load(here.hf, remote=True)


@pytest.fixture
def ndif(monkeypatch: pytest.MonkeyPatch) -> Any:
    """nnsight's settings, put back afterwards; no key, and a host where nobody listens."""
    from nnsight.schema.config import CONFIG

    monkeypatch.setattr(CONFIG.API, "HOST", "http://127.0.0.1:9")
    monkeypatch.setattr(CONFIG.API, "APIKEY", None)
    monkeypatch.setattr(CONFIG.APP, "REMOTE_LOGGING", False)
    return CONFIG


@pytest.fixture
def env() -> Iterator[str]:
    """A host that only says which versions it has: another torch."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: Any) -> None: ...

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(
                json.dumps({"python_version": "3.12.1", "packages": VERSIONS | {"torch": "1.0.0"}}).encode()
            )

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_no_key_no_network_and_other_versions_are_one_sentence_each(ndif: Any, env: str, tmp_path: Path) -> None:
    wrapped = skeleton(tmp_path, "mixtral")
    with pytest.raises(WorkbenchError, match=r"needs a key for .*there is none; set NDIF_API_KEY"):
        load(wrapped, remote=True)
    ndif.API.APIKEY = "any"
    with pytest.raises(WorkbenchError, match=r"could not be reached at http://127\.0\.0\.1:9"):
        load(wrapped, remote=True)
    with pytest.raises(WorkbenchError, match=r"\(torch \S+ here and 1\.0\.0 there\).*install the server's"):
        load(wrapped, remote=env)


@pytest.mark.slow
def test_a_store_from_a_server_that_has_no_workbench_is_the_native_one(
    ndif: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """remote=True over nnsight's own client and protocol; the server is another process (ndif_server.py)."""
    from nnsight.modeling import huggingface

    here, wrapped = families.get("deepseek_v3"), skeleton(tmp_path / "m", "deepseek_v3")
    monkeypatch.setitem(huggingface._ID_CACHE, wrapped.repo_id, wrapped.repo_id)  # the hub's spelling of the name
    command = [
        sys.executable,
        str(Path(__file__).with_name("ndif_server.py")),
        str(tmp_path / "m"),
        json.dumps(VERSIONS),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            ndif.API.HOST = f"http://127.0.0.1:{server.stdout.readline().strip()}"
            ndif.API.APIKEY = "wrong"
            with pytest.raises(WorkbenchError, match=r"NDIF did not run the trace: .*Invalid API key"):
                load(wrapped, remote=True)
            ndif.API.APIKEY = "right"
            far = load(wrapped, remote=True)
            assert far.anatomy.fingerprint == here.anatomy.fingerprint
            options: dict[str, Any] = {"keep": EVERYTHING, "generate": 4, "progress": False}
            found = capture(far, PROMPTS, tmp_path / "far", **options)
        finally:
            server.kill()
    assert not wrapped.dispatched, "the weights were loaded here"
    check_equal(capture(here, PROMPTS, tmp_path / "native", **options), found)
    assert (found.plan_json["backend"], found.plan_json["device"]) == ("nnsight on NDIF", "NDIF")
