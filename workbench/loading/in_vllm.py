"""`load(..., engine="vllm")`: the checkpoint is read once natively, for what is known of it, and then served by vLLM."""

from collections.abc import Callable, Mapping
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch

from workbench.backends import OwnEngine, told_of
from workbench.bundled import bundled_path
from workbench.checkpoints import find_checkpoint, prepared
from workbench.errors import WorkbenchError
from workbench.model import MoEModel, Told

_BOTH = ("revision", "token", "trust_remote_code")
"""Options that transformers and vLLM both take."""
_NEVER_TIED = ("glm4_moe",)
"""Model types of smollm2-moe and of what `workbench factorize` makes of other models with tied embeddings."""


def in_vllm(source: Any, native: Callable[..., MoEModel], options: Mapping[str, Any], **others: Any) -> MoEModel:
    """The model `source` names, in vLLM. native: loads it in this process; options: vLLM's engine arguments.

    others  options of `load` that vLLM has no use for, each "auto" where nothing was said

    Raises `WorkbenchError` for a model that is built already: vLLM reads its weights from files.
    """
    if not isinstance(source, str) and not hasattr(source, "__fspath__"):
        raise WorkbenchError(
            f"load({type(source).__name__}, engine='vllm') is not possible, for vLLM reads weights from files; save the model "
            f"and give its folder."
        )
    if said := [f"{name}=..." for name, given in others.items() if not isinstance(given, str) or given != "auto"]:
        raise WorkbenchError(
            f"load(engine='vllm', {', '.join(said)}) is not possible; vLLM runs transformers' families on what it was built for."
        )
    read = read_once(str(source), native, options)
    from workbench.serving.client import started

    engine = started(read.path, read.facts, options, read.folder)
    facts = read.facts
    return MoEModel(facts.tokenizer, None, lambda model: OwnEngine(engine), told_of(engine))


class Read(NamedTuple):
    """What vLLM needs of a checkpoint that was read natively: where its files are, and the folder that was made for that."""

    facts: Told
    path: str
    folder: TemporaryDirectory[str] | None


def read_once(source: str, native: Callable[..., MoEModel], options: Mapping[str, Any]) -> Read:
    """What is known of the model that `source` names; its weights are gone again. native: loads it in this process."""
    here = native(device="cpu", **{name: options[name] for name in _BOTH if name in options})
    names = ("anatomy", "tokenizer", "dtype", "kind", "n_embeddings", "config", "generation_config")
    facts = Told(**{name: getattr(here.facts, name) for name in names}, device="vLLM")
    return Read(facts, *_files(source, here))


def _files(source: str, here: MoEModel) -> tuple[str, TemporaryDirectory[str] | None]:
    """Where vLLM finds the weights, and the folder that was made for that."""
    if source == "demo":
        return str(bundled_path("demo-model")), None
    if source.startswith("tiny/") or _is_tied(here.hf.config):
        folder = TemporaryDirectory(prefix="workbench-vllm-", ignore_cleanup_errors=True)
        _write(here, folder.name)
        return folder.name, folder
    found = find_checkpoint(source)
    return (source if found is None else str(prepared(found))), None


def _is_tied(config: Any) -> bool:
    """Whether vLLM would leave the output layer empty: of this family it reads one, whatever the config says of tying."""
    return config.model_type in _NEVER_TIED and bool(getattr(config, "tie_word_embeddings", False))


def _write(here: MoEModel, folder: str) -> None:
    """The checkpoint with an output layer of its own."""
    hf = here.hf
    if _is_tied(hf.config):
        hf.config.tie_word_embeddings = False
        hf.lm_head.weight = torch.nn.Parameter(hf.lm_head.weight.detach().clone())
    hf.save_pretrained(folder)
    if here.tokenizer is not None:
        here.tokenizer.save_pretrained(folder)
