"""The `plan.json` of a store: what its capture was asked, written before the first forward and compared when it goes on."""

import json
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy
import pyarrow
import tokenizers
import torch
import transformers

from workbench.anatomy import UNCOMPARED, Anatomy, is_unversioned
from workbench.backends import FIRST, Capabilities
from workbench.capturing.options import digest
from workbench.capturing.request import Request
from workbench.errors import NotCompared, WorkbenchError
from workbench.paths import Place
from workbench.records import KEEPS
from workbench.shards import READABLE, SCHEMA_VERSION
from workbench.version import __version__


def plan_json(request: Request) -> dict[str, Any]:
    """What `plan.json` says of a request, JSON-able."""
    model, prompts, plan = request.model, request.prompts, request.plan
    return {
        "schema_version": SCHEMA_VERSION,
        "model": {
            "name": model.anatomy.model,
            "revision": model.anatomy.revision,
            "weights": model.anatomy.weights,
            "class": model.facts.kind,
        },
        "anatomy": model.anatomy.to_dict(),
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": str(model.device),
        "experts_implementation": getattr(model.facts.config, "_experts_implementation", None),
        "versions": versions(),
        "options": request.options.to_dict(),
        "layers": list(model.anatomy.moe_layers),
        "prompts": {
            "source": prompts.source,
            "n": len(prompts),
            "fingerprint": prompts.fingerprint,
            "tokens": digest([prompt.ids for prompt in request.encoded]),
        },
        "steering": json.loads(plan.to_json()) if plan else None,
        "warnings": list(request.warnings),
        "seeds": list(request.seeds),
        "batches": [list(batch) for batch in request.schedule.batches],
        "shards": [list(shard) for shard in request.schedule.shards],
        "backend": request.can.name,
        **({} if (lacks := _unshown(request.can)) == {} else {"lacks": lacks}),
        **({} if request.template_date is None else {"template_date": request.template_date}),
        **({} if request.decoding is None else {"decoding": request.decoding.record()}),
    }


def _unshown(can: Capabilities) -> dict[str, str]:
    """What the engine cannot record, with the reasons that it gives."""
    return {name: can.why[name] for name in sorted(KEEPS - (can.keep or frozenset())) if name in can.why}


def versions() -> dict[str, str]:
    """Of what a capture's contents may depend on."""
    modules = (numpy, torch, transformers, tokenizers, pyarrow)
    return {"workbench": __version__} | {module.__name__: str(module.__version__) for module in modules}


# ---- whether a store was begun with the same


def check_same(store: Place, begun: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Raises `WorkbenchError` when the store was begun with another request; says what differs.

    Warns (`NotCompared`) when the store was begun before fingerprints had a version: then less was compared.
    """
    differences = [
        f"{what} ({_short(there)} there, {_short(here)} here)"
        for what, there, here in _differences(begun, asked)
        if there != here
    ]
    if differences:
        shown = differences[:3]  # a different option also changes batches and shards
        raise WorkbenchError(
            f"The store '{store}' was begun with another {', another '.join(shown)}; nothing was changed: ask "
            f"for the same, or capture into another folder."
        )
    if is_unversioned(begun["anatomy"]["fingerprint"]):
        text = f"The store '{store}' is taken for one of this model, but {UNCOMPARED}."
        warnings.warn(text, NotCompared, stacklevel=2)


def _differences(begun: Mapping[str, Any], asked: Mapping[str, Any]) -> Iterable[tuple[str, Any, Any]]:
    version = begun.get("schema_version")  # an earlier one goes on, and stays what it is
    yield "schema version", version, version if version in READABLE else asked["schema_version"]
    there, model = begun.get("prompts", {}), Anatomy.from_dict(asked["anatomy"])
    yield from _model_differences(begun.get("anatomy", {}), model)
    yield "dtype", begun.get("dtype"), asked["dtype"]
    yield "prompt set", there.get("fingerprint"), asked["prompts"]["fingerprint"]
    yield "tokenisation", there.get("tokens"), asked["prompts"]["tokens"]
    yield "steering plan", _edits(begun.get("steering"), model), _edits(asked["steering"], model)
    yield "engine", begun.get("backend", FIRST), asked["backend"]
    if "decoding" in begun:
        yield "decoding by the generation config", begun["decoding"], asked.get("decoding")
    for name in asked["options"]:
        yield name, begun.get("options", {}).get(name), asked["options"][name]
    for name in ("batches", "shards", "seeds"):
        yield f"list of {name}", begun.get(name), asked[name]


def _model_differences(begun: Mapping[str, Any], model: Anatomy) -> Iterable[tuple[str, Any, Any]]:
    """The fingerprint, each side's by the rule that the store was begun under, and what makes the two differ if that is known."""
    there = begun.get("fingerprint")
    if isinstance(there, str) and model.is_same(there):
        return
    yield "model", there, model.unversioned if is_unversioned(there or "") else model.fingerprint
    yield "set of active adapters", list(begun.get("adapters", ())), list(model.adapters)
    layers = begun.get("layers", ())
    yield "top-k", [x.get("top_k") for x in layers], [x.top_k for x in model.layers]


def _edits(steering: Mapping[str, Any] | None, model: Anatomy) -> Any:
    """A plan's JSON for comparing: a fingerprint that is the model's counts as the model's, by whichever rule it was made."""
    known = steering.get("fingerprint") if steering else None
    same = isinstance(known, str) and model.is_same(known)
    return {**steering, "fingerprint": model.fingerprint} if steering and same else steering


def _short(value: Any) -> str:
    text = "none" if value is None else value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
