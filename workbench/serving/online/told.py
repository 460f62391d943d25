"""What a server tells of its model at `PATH`: the MoE map, the tokenizer's files, how it wants to generate; and the same read."""

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch

from workbench.anatomy import Anatomy
from workbench.backends import Capabilities
from workbench.generation import SHAPING, plain
from workbench.model import Facts, Told
from workbench.plan import Plan

PATH = "/v1/experts"
_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")
_CHOOSES = (*SHAPING, "eos_token_id")


class Heard(NamedTuple):
    """A server's model: what is known of it, what it can, and the plan that holds for every request."""

    facts: Told
    can: Capabilities
    everywhere: Plan


def telling(facts: Facts, can: Capabilities, everywhere: Plan) -> dict[str, Any]:
    """JSON-able; the inverse of `heard`."""
    return {
        "anatomy": json.loads(json.dumps(facts.anatomy.to_dict())),
        "kind": facts.kind,
        "dtype": str(facts.dtype).removeprefix("torch."),
        "n_embeddings": facts.n_embeddings,
        "config": {"eos_token_id": plain(getattr(facts.config, "eos_token_id", None))},
        "generation_config": {name: plain(getattr(facts.generation_config, name, None)) for name in _CHOOSES},
        "tokenizer": _files_of(facts.tokenizer),
        "edits": sorted(can.edits),
        "scopes": sorted(can.scopes),
        "why": dict(can.why),
        "plan": json.loads(everywhere.to_json()) if everywhere else None,
    }


def heard(said: Mapping[str, Any]) -> Heard:
    """What `telling` told. Raises `KeyError`, `TypeError` or `ValueError` for what it did not."""
    facts = Told(
        Anatomy.from_dict(said["anatomy"]),
        _tokenizer(said["tokenizer"]),
        getattr(torch, said["dtype"]),
        "a server",
        said["kind"],
        said["n_embeddings"],
        SimpleNamespace(**said["config"]),
        SimpleNamespace(**said["generation_config"]),
    )
    why = {
        **said["why"],
        "scoring": "a server answers, and scores no given text",
        "keep": "its answers tell no routing",
    }
    can = Capabilities(
        "server",
        edits=frozenset(said["edits"]),
        scopes=frozenset(said["scopes"]),
        keep=None,
        scoring=False,
        shaping=frozenset(),
        shared=False,
        why=why,
    )
    return Heard(facts, can, Plan.from_json(json.dumps(said["plan"])) if said["plan"] else Plan())


def _files_of(tokenizer: Any) -> dict[str, str]:
    if tokenizer is None:
        return {}
    with TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        there = [Path(folder) / name for name in _FILES]
        return {file.name: file.read_text(encoding="utf-8") for file in there if file.is_file()}


def _tokenizer(files: Mapping[str, str]) -> Any:
    """From its files, as a class of transformers' own: nothing that a server sends is run."""
    from transformers import AutoTokenizer

    if not files:
        return None
    with TemporaryDirectory() as folder:
        for name in _FILES:
            if name in files:
                (Path(folder) / name).write_text(files[name], encoding="utf-8")
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
