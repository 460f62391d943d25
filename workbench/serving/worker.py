"""Puts plans into vLLM's processes: `install` wraps four of its functions, each named in names.py; all else stays vLLM's.

A worker binds its model as soon as it is loaded, before memory is counted. What a worker is asked by name over vLLM's own
calls begins with `workbench_`.
"""

import json
import logging
from functools import wraps
from typing import Any

import numpy as np

from workbench.serving.names import mismatch
from workbench.serving.plugin import settings
from workbench.serving.requests import prepared
from workbench.serving.rules import rules_of
from workbench.serving.steps import Asked, Span, Steps
from workbench.serving.taken import packed

_INSTALLED = "_workbench_installed"


def install() -> None:
    """Wraps vLLM's functions once a process; where they are not those of 0.32, plans are refused and vLLM serves as it is."""
    if why := mismatch():
        logging.getLogger("vllm").warning("MoE Workbench serves no plans: %s.", why)
        return
    from vllm.v1.engine.input_processor import InputProcessor  # pyright: ignore[reportMissingImports]
    from vllm.v1.worker.gpu_model_runner import GPUModelRunner  # pyright: ignore[reportMissingImports]
    from vllm.v1.worker.gpu_worker import Worker  # pyright: ignore[reportMissingImports]

    if getattr(Worker, _INSTALLED, False):
        return
    setattr(Worker, _INSTALLED, True)
    InputProcessor.process_inputs = _process_inputs(InputProcessor.process_inputs)
    Worker.load_model = _load_model(Worker.load_model)
    GPUModelRunner._prepare_inputs = _prepare_inputs(GPUModelRunner._prepare_inputs)
    GPUModelRunner.execute_model = _execute_model(GPUModelRunner.execute_model)
    for ask in (
        workbench_layers,
        workbench_rules,
        workbench_take,
        workbench_doses,
        workbench_in_use,
        workbench_waiting,
    ):
        setattr(Worker, ask.__name__, ask)


# ---- what is wrapped


def _process_inputs(own: Any) -> Any:
    @wraps(own)
    def process_inputs(self: Any, *args: Any, **kwargs: Any) -> Any:
        return prepared(own(self, *args, **kwargs))

    return process_inputs


def _load_model(own: Any) -> Any:
    @wraps(own)
    def load_model(self: Any, *args: Any, **kwargs: Any) -> Any:
        loaded, asked = own(self, *args, **kwargs), settings()
        assert asked is not None
        runner = self.model_runner
        eager = bool(runner.model_config.enforce_eager)
        runner.workbench = Steps(runner.model, asked, runner.max_num_tokens, runner.device, eager)
        return loaded

    return load_model


def _prepare_inputs(own: Any) -> Any:
    @wraps(own)
    def prepare(self: Any, scheduler_output: Any, num_scheduled_tokens: Any) -> Any:
        made = own(self, scheduler_output, num_scheduled_tokens)
        self.workbench.before(_spans(self, num_scheduled_tokens))
        return made

    return prepare


def _execute_model(own: Any) -> Any:
    @wraps(own)
    def execute_model(self: Any, scheduler_output: Any, *args: Any, **kwargs: Any) -> Any:
        self.workbench.end(scheduler_output.finished_req_ids)
        made = own(self, scheduler_output, *args, **kwargs)
        state = self.execute_model_state
        self.workbench.after(None if state is None else state.hidden_states, self.model.compute_logits)
        return made

    return execute_model


def _spans(runner: Any, n_tokens: Any) -> list[Span]:
    """Whose the tokens of the coming forward are, in the order of the batch; requests that are new begin here."""
    spans, start = list[Span](), 0
    for at, request in enumerate(runner.input_batch.req_ids):
        if request not in runner.workbench.asked:
            state = runner.requests[request]
            extra = state.sampling_params.extra_args if state.sampling_params is not None else None
            runner.workbench.begin(request, Asked.of(extra, state.num_prompt_tokens))
        past, n = int(runner.input_batch.num_computed_tokens_cpu[at]), int(n_tokens[at])
        ids = _ids(runner.requests[request], past, n) if runner.workbench.asked[request].follow == "ids" else None
        spans.append(Span(request, start, np.arange(past, past + n), ids))
        start += n
    return spans


def _ids(state: Any, past: int, n: int) -> Any:
    return np.array([*state.prompt_token_ids, *state.output_token_ids][past : past + n], np.int32)


# ---- what is asked of a worker


def workbench_layers(self: Any) -> str:
    """JSON: of each bound layer its number, experts and top-k; and why plans are refused, if they are."""
    steps: Steps = self.model_runner.workbench
    layers = [(layer.number, layer.n_experts, layer.top_k) for layer in steps.binding.layers.values()]
    return json.dumps({"layers": layers, "reasons": steps.binding.reasons})


def workbench_rules(self: Any) -> str:
    """JSON: by layer the rule that its router followed in the last forward, or half a sentence why none is known."""
    return json.dumps(rules_of(self.model_runner.workbench.binding.layers))


def workbench_take(self: Any, requests: list[str]) -> bytes:
    """What was kept of these requests since the last time, `packed`."""
    return packed(self.model_runner.workbench.take(requests))


def workbench_doses(self: Any, names: list[str]) -> str:
    """JSON: of each name what the plans of its requests changed (see `Doses.take`), which is forgotten here."""
    return json.dumps([self.model_runner.workbench.doses.take(name) for name in names])


def workbench_in_use(self: Any) -> int:
    """Rows of the tables that requests hold."""
    return len(self.model_runner.workbench.ledger.users)


def workbench_waiting(self: Any) -> list[Any]:
    """Of the captured requests: JSON about those that have ended, and the names of those that run; rows, `packed` (`Waiting`)."""
    steps: Steps = self.model_runner.workbench
    said, pieces = steps.waited()
    running = [one.about["name"] for one in steps.waiting.requests.values()]
    return [json.dumps({"ended": said, "running": running}), packed(pieces)]
