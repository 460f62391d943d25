"""Loading: a transformers model, its tokenizer and its MoE map, checked before anybody trusts a number from it."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from inspect import signature
from typing import Any

import torch

from workbench.backends import NAMES, Native, OwnEngine, check_engine, named, told_of
from workbench.bundled import bundled_path
from workbench.checkpoints import checkpoints, find_checkpoint, prepared
from workbench.engine_words import belongs_to_load
from workbench.errors import WorkbenchError, listed, suggestion
from workbench.loading.check import check_by_intervening
from workbench.loading.checked import entry_of, note_checked, was_checked
from workbench.loading.files import hashed_meanwhile
from workbench.loading.in_vllm import in_vllm
from workbench.loading.tiny import FAMILIES, tiny_model, tiny_tokenizer
from workbench.model import (
    MoEAdapter,
    MoEModel,
    Opened,
    PlainModel,
    Runtime,
    check_whole,
    find_layout,
    first_line,
    hub_unreachable,
    is_wrapped,
    opened,
    quantised_by,
    read_weights,
)
from workbench.paths import given_source
from workbench.progress import ProgressLines
from workbench.survey import anatomy_of, in_bridge, known_runtime, new_runtime

_FOLDERS = ("cache_dir", "offload_folder")  # options of `from_pretrained` that name a folder


def load(
    source: Any,
    tokenizer: Any = None,
    *,
    device: str = "auto",
    dtype: str | torch.dtype = "auto",
    check: bool | None = None,
    adapter: MoEAdapter | None = None,
    engine: Any = None,
    remote: bool | str = False,
    **hub: Any,
) -> MoEModel:
    """A model ready to capture and steer.

    source   "demo" (bundled), "tiny/FAMILY" (random weights), a named checkpoint (`workbench models`; fetched, converted once), a
             local folder, a Hugging Face id, or a model already built: of transformers, in a TransformerLens
             `TransformerBridge`, or of nnsight (`TransformersModel`)
    device   "auto" is CUDA when there is one, else the CPU; for several devices pass `device_map="auto"`
    dtype    "auto" is the checkpoint's own
    check    also mute one expert per layer and see that the logits change (a few small forwards). A checkpoint that passed is
             known by all its bytes, and not checked again (`workbench.loading.checked`); True: checked anyhow; False: never
    adapter  how an MoE outside transformers' experts interface routes (`workbench.model.adapters`); with one, source may be any
             `nn.Module` from token ids to logits
    engine   what runs the forwards: "native" (this process, through hooks; what there is if nothing is said), "nnsight" (every
             forward is a trace of an nnsight model: greedy, no plan), "ndif" (the same with remote=True), "vllm" (a serving
             engine; other options are its engine arguments), or one of your own: an object that implements
             `workbench.backends.Backend`, a class that makes one (called with source and the options), or its name, module:Class
    remote   with nnsight, True: the weights stay on NDIF, where the traces run. Source is a hub id, or an nnsight model named by
             one. One trace there tells how it routes; it can be captured, not steered
    hub      goes to `from_pretrained`: revision, device_map, experts_implementation, trust_remote_code, ...

    The model is put into eval mode.

    Raises `WorkbenchError` for a dense model, an MoE family we cannot see into, or a source that cannot be read.
    """
    if "backend" in hub:
        raise WorkbenchError(belongs_to_load("load", "backend", hub["backend"]))
    _check_adapter(adapter)
    if not isinstance(engine, str | None) or engine not in (None, *NAMES):
        _check_own(engine, {"remote": remote, "adapter": adapter is not None})
        return _elsewhere(engine, source, opened_tokenizer(given_source(tokenizer), hub), device, dtype, hub)
    if engine == "vllm":
        native = partial(load, source, tokenizer, dtype=dtype, check=False)
        return in_vllm(source, native, hub, device=device, remote=remote or "auto", adapter=adapter or "auto")
    if engine == "ndif":
        engine, remote = "nnsight", remote or True
    if remote and engine == "native":
        raise WorkbenchError(
            f"load(engine='native', remote={remote!r}) is not possible; remote goes with engine='nnsight'."
        )
    source, tokenizer = given_source(source), opened_tokenizer(given_source(tokenizer), hub)
    hub |= {name: given_source(hub[name]) for name in _FOLDERS if name in hub}
    if remote:
        return _far(source, tokenizer, remote)
    around = opened(source)
    if adapter is not None and isinstance(around.hf, torch.nn.Module) and not hasattr(around.hf, "config"):
        around = around._replace(hf=PlainModel(around.hf))
    checking = check is None or bool(check)
    with _hashed(around.hf, hub) if checking else nullcontext(lambda: None) as files:
        hf, tokenizer, name = resolve(around.hf, tokenizer or around.tokenizer, device, dtype, hub)
        hf.eval()
        runtime = _known_runtime(hf, around)
        if runtime is None or adapter is not None:
            runtime = new_runtime(hf, name, hub.get("revision"), adapter)
        if around.bridge is not None:
            runtime.bridges.add(around.bridge)
        model = MoEModel(tokenizer, runtime, Native)
        if checking:
            _check(model, entry_of(runtime, hub, files()), known=check is None)
    return _on_engine(model, around.nnsight, engine or "native")


def _hashed(source: Any, hub: dict[str, Any]) -> AbstractContextManager[Callable[[], str | None]]:
    """What gives the hash of the checkpoint's files, if it has any."""
    named = isinstance(source, str) and source.strip() and not source.startswith("tiny/")
    return hashed_meanwhile(path_of(source), hub) if named else nullcontext(lambda: None)


def path_of(name: str) -> str:
    """The folder of the bundled model or of a named checkpoint, which is fetched and converted first; other names as they are."""
    if name == "demo":
        return str(bundled_path("demo-model"))
    found = find_checkpoint(name)
    return name if found is None else str(prepared(found, report=ProgressLines()))


def _check(model: MoEModel, entry: dict[str, Any] | None, *, known: bool) -> None:
    """Looks at what muting an expert changes. known: unless a checkpoint of which all this holds passed before."""
    if known and entry is not None and was_checked(entry):
        return
    check_by_intervening(model)
    if entry is not None:
        note_checked(entry)


def _on_engine(model: MoEModel, wrapped: Any, engine: str) -> MoEModel:
    if engine == "native":
        return model
    from workbench.backends.nnsight import Nnsight, check_traceable, traced

    check_traceable(model)
    return replace(model, engine=partial(Nnsight, wrapped=wrapped or traced(model.hf, model.tokenizer)))


def _check_adapter(adapter: Any) -> None:
    lacks = [name for name in ("blocks", "route", "expert", "combine") if not callable(getattr(adapter, name, None))]
    if adapter is not None and lacks:
        raise WorkbenchError(
            f"load(adapter={adapter!r:.60}) is no adapter, for it has no {', '.join(lacks)}; see `workbench.model.MoEAdapter`."
        )


def _check_own(engine: Any, here: dict[str, Any]) -> None:
    """An engine of somebody's own takes none of what goes with ours."""
    if said := next((name for name, given in here.items() if given), None):
        raise WorkbenchError(
            f"load(engine={engine!r:.60}, {said}=...) is not possible; {said} goes with the engines {', '.join(NAMES)}."
        )


def _elsewhere(engine: Any, source: Any, tokenizer: Any, device: str, dtype: Any, hub: dict[str, Any]) -> MoEModel:
    """A model on an engine that is not one of ours."""
    made, given = named(engine), {name for name, x in (("device", device), ("dtype", dtype)) if x != "auto"} | {*hub}
    if not isinstance(made, type) and given:
        raise WorkbenchError(
            f"load(engine={engine!r:.60}, {', '.join(f'{name}=...' for name in sorted(given))}) says nothing to an engine that "
            f"is made already; pass its class, or make it with these."
        )
    try:
        if isinstance(made, type):
            made = made(source, tokenizer=tokenizer, device=device, dtype=dtype, **hub)
        check_engine(made)
        told, own = told_of(made), made.facts.tokenizer
    except WorkbenchError:
        raise
    except Exception as error:  # somebody else's code, which can fail in any way
        raise WorkbenchError(
            f"The engine {engine!r} could not be made for {source!r:.60} ({type(error).__name__}: {error}); see "
            f"`workbench.backends.Backend` for what it is called with and what it has to have."
        ) from error
    return MoEModel(tokenizer or own, None, lambda model: OwnEngine(made), told)


def _far(source: Any, tokenizer: Any, remote: bool | str) -> MoEModel:
    """A model on NDIF."""
    from workbench.backends.nnsight import Nnsight, check_ndif, look, traced

    around = opened(traced(source) if isinstance(source, str) else source, far=True)
    if around.nnsight is None:
        raise WorkbenchError(
            f"load(..., remote=True) takes a hub id, or an nnsight model named by one, TransformersModel('owner/name'), not a "
            f"{type(source).__name__}."
        )
    check_ndif(around.nnsight, remote)
    hf = around.hf
    layout = find_layout(hf)
    found = look(around.nnsight, layout, remote)
    name, revision = around.nnsight.repo_id, around.nnsight.revision
    anatomy = anatomy_of(hf, layout, name, revision, found.survey, read_weights(hf, found.values))
    runtime = Runtime(hf, layout, anatomy, found.survey.before, found.survey.multipliers, found.survey.facts)
    runtime.far, runtime.far_dtype = True, found.dtype
    return MoEModel(tokenizer or around.tokenizer, runtime, partial(Nnsight, wrapped=around.nnsight, remote=remote))


def _known_runtime(hf: Any, around: Opened) -> Runtime | None:
    """The runtime of an earlier load, unless the model was changed in place or put into a bridge since."""
    if is_wrapped(hf) and around.bridge is None and not in_bridge(hf):
        raise WorkbenchError(
            f"This {type(hf).__name__} lies in a TransformerBridge, whose wrappers replace its modules; pass the bridge to load."
        )
    return known_runtime(hf)


def resolve(source: Any, tokenizer: Any, device: str, dtype: Any, hub: dict[str, Any]) -> tuple[Any, Any, str]:
    if isinstance(source, str) or hasattr(source, "__fspath__"):
        name = str(source)
        if not name.strip():
            raise WorkbenchError(
                f"load({name!r}) names no model; give 'demo', tiny/FAMILY, a folder or a Hugging Face id."
            )
        if name.startswith("tiny/"):
            hf = tiny_model(name.removeprefix("tiny/"), dtype=torch.float32 if dtype == "auto" else dtype_of(dtype))
            return moved(hf, device), tokenizer or tiny_tokenizer(), name
        return (*_from_pretrained(name, tokenizer, device, dtype, hub), name)
    if isinstance(source, torch.nn.Module) and hasattr(source, "config") and not hasattr(source, "generate"):
        raise WorkbenchError(
            f"A {type(source).__name__} predicts no next token, so there is nothing to steer or to check it by; load its "
            f"ForCausalLM class."
        )
    if not hasattr(source, "config") or not callable(getattr(source, "generate", None)):
        given = (
            "what it returned before: use that as it is"
            if isinstance(source, MoEModel)
            else f"a {type(source).__name__}"
        )
        raise WorkbenchError(
            f"load takes 'demo', a folder, a Hugging Face id or a model of transformers, TransformerLens or nnsight, not {given}."
        )
    if hub or device != "auto" or dtype != "auto":
        raise WorkbenchError(
            "A model already built keeps its device, dtype and options; pass nothing but the tokenizer."
        )
    return source, tokenizer, getattr(source.config, "name_or_path", "") or type(source).__name__


def _from_pretrained(name: str, tokenizer: Any, device: str, dtype: Any, hub: dict[str, Any]) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM

    path, wanted = path_of(name), dtype_of(dtype)
    unreachable = None if path != name else hub_unreachable(name, hub)
    if unreachable:
        hub = {**hub, "local_files_only": True}
        # with PEFT installed transformers looks for an adapter as well, and does not pass the word on
        hub["adapter_kwargs"] = {"local_files_only": True, **hub.get("adapter_kwargs", {})}
    try:
        found: Any = AutoModelForCausalLM.from_pretrained(path, dtype=wanted, **hub | {"output_loading_info": True})
    except Exception as error:  # of a broken or unknown checkpoint transformers, and what it calls, raise anything
        _check_known(hub, error)
        raise WorkbenchError(
            f"'{name}' could not be loaded{f' ({unreachable})' if unreachable else ''}: {first_line(error)} "
            f"{_instead(path, error)}"
        ) from error
    hf, report = found
    check_whole(name, hf, report)
    if "device_map" not in hub:
        hf = moved(hf, device)
    return hf, _tokenizer(path, hub) if tokenizer is None else tokenizer


def _check_known(hub: Mapping[str, Any], error: Exception) -> None:
    """Raises `WorkbenchError` where the error is about an option that nobody knows."""
    found = next((name for name in hub if isinstance(error, TypeError) and f"argument '{name}'" in str(error)), None)
    if found is not None:
        own = [name for name in signature(load).parameters if name != "hub"]
        raise WorkbenchError(
            f"load({found}=...) is no option of load or of transformers' from_pretrained"
            f"{suggestion(found, own) or f'; those of load are {listed(own)}.'}"
        ) from error


def _instead(path: str, error: Exception) -> str:
    """What to do about a model that could not be loaded."""
    method = quantised_by(path)
    if method is not None and not isinstance(error, OSError):
        return f"Its weights are quantised by {method}: install what that needs, or load the checkpoint that is not quantised."
    return (
        f"It should be {listed(['demo', *checkpoints()])}, tiny/ with one of {listed(list(FAMILIES))}, a folder with a "
        f"transformers causal LM, or a Hugging Face id."
    )


def opened_tokenizer(tokenizer: Any, hub: dict[str, Any]) -> Any:
    """The tokenizer that was given, read where its name or folder was; None stays."""
    if isinstance(tokenizer, str):
        return _tokenizer(tokenizer, hub | ({"local_files_only": True} if hub_unreachable(tokenizer, hub) else {}))
    if tokenizer is not None and not hasattr(tokenizer, "all_special_ids"):
        raise WorkbenchError(
            f"load(..., tokenizer) takes a tokenizer of transformers, or the name or folder of one, not a "
            f"{type(tokenizer).__name__}."
        )
    return tokenizer


def _tokenizer(source: str, hub: dict[str, Any]) -> Any:
    from transformers import AutoTokenizer

    passed = {
        k: v for k, v in hub.items() if k in ("revision", "token", "cache_dir", "trust_remote_code", "local_files_only")
    }
    try:
        return AutoTokenizer.from_pretrained(source, **passed)
    except Exception as error:  # as of a model
        raise WorkbenchError(
            f"No tokenizer could be read from '{source}' ({first_line(error).rstrip('.')}); pass one as load(..., tokenizer)."
        ) from error


def moved(hf: Any, device: str) -> Any:
    chosen = device_of(device)
    try:
        return hf.to(chosen)
    except (RuntimeError, AssertionError) as error:  # an unknown device, one torch was not built for
        raise WorkbenchError(
            f"The model could not be put on the device '{chosen}' ({first_line(error).rstrip('.')}); "
            f"use cpu, or auto, which is CUDA when there is one."
        ) from error


def device_of(device: str) -> str:
    return device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


def dtype_of(dtype: Any) -> Any:
    if not isinstance(dtype, str) or dtype == "auto":
        return dtype
    found = getattr(torch, dtype, None)
    if found not in (torch.float32, torch.bfloat16, torch.float16, torch.float64):
        raise WorkbenchError(f"'{dtype}' is no torch dtype of weights; use auto, float32, bfloat16 or float16.")
    return found
