"""A server's model behind the workbench's seam: each row of a batch is a request that carries its plan, streamed."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from typing import Any
from uuid import uuid4

import numpy as np
from torch import Tensor

from workbench.backends import Batch, Capabilities, Keep, Ran
from workbench.errors import WorkbenchError
from workbench.generation import Decoding, Made
from workbench.model import Facts
from workbench.plan import Plan
from workbench.records import Step
from workbench.routing import CompiledPlan, Dose
from workbench.serving.online.asking import Asking
from workbench.serving.online.told import PATH, Heard, heard

NAME = "workbench.serving.online:Online"
"""What `load(URL, engine=...)` and `Catalog.engine` call it."""


class Online:
    """The engine. Raises `WorkbenchError` where no such server answers."""

    def __init__(self, source: Any, **_: Any) -> None:
        self.asking = Asking(str(source))
        try:
            self.heard: Heard = heard(self.asking.get(PATH))
            self.model = str(self.asking.get("/v1/models")["data"][0]["id"])
        except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
            if isinstance(error, WorkbenchError):
                raise
            raise WorkbenchError(
                f"What the server at {self.asking.url} tells of its model cannot be read ({type(error).__name__}: "
                f"{error!s:.100}); serve it with this version of the workbench."
            ) from error

    @property
    def can(self) -> Capabilities:
        """What the server's engine can, and a server tells."""
        return self.heard.can

    @property
    def facts(self) -> Facts:
        """What the server told of its model."""
        return self.heard.facts

    @property
    def everywhere(self) -> Plan:
        """The server's own plan, which holds for every answer."""
        return self.heard.everywhere

    def run(
        self,
        batch: Batch,
        plan: CompiledPlan,
        decoding: Decoding | None = None,
        keep: Keep | None = None,
        dose: Dose | None = None,
    ) -> Generator[Ran, None, None]:
        """See `Backend.run`: one row after the other."""
        if decoding is None:
            raise WorkbenchError(
                f"The server at {self.asking.url} does nothing but answer; capture with another engine."
            )
        for number, row in enumerate(batch.rows):
            seed = batch.seeds[number] if batch.seeds else 0
            asked = {"model": self.model, "prompt": list(row), **_how(decoding, seed), **_planned(plan), **_fresh(dose)}
            with closing(self.asking.events("/v1/completions", asked)) as events:
                yield from _answer(events, number, len(row), decoding, dose)

    def score(self, batch: Batch, plan: CompiledPlan) -> Tensor:
        """It says that it cannot."""
        raise WorkbenchError("A server scores no given text.")


def _planned(plan: CompiledPlan) -> dict[str, Any]:
    return {"vllm_xargs": {"expert_plan": plan.plan.to_json()}} if plan.plan else {}


def _fresh(dose: Dose | None) -> dict[str, Any]:
    """With a salt of its own nothing comes from the prefix cache, so that the dose is that of the whole answer."""
    return {} if dose is None else {"cache_salt": uuid4().hex}


def _how(decoding: Decoding, seed: int) -> dict[str, Any]:
    """Only the checkpoint's ends and the workbench's own options are in force."""
    said = {"max_tokens": decoding.tokens, "temperature": decoding.temperature, "ignore_eos": True}
    said |= {"stop_token_ids": sorted(decoding.stop), "logprobs": decoding.alternatives, "repetition_penalty": 1.0}
    said |= {"return_token_ids": True, "return_tokens_as_token_ids": True, "skip_special_tokens": False}
    return said | ({"seed": seed, "top_p": 1.0, "top_k": 0} if decoding.temperature else {})


def _answer(events: Any, number: int, n_given: int, how: Decoding, dose: Dose | None) -> Generator[Ran, None, None]:
    """An answer's tokens as they come; the server says at its end what the plan changed."""
    position = 0
    for event in events:
        for choice in event.get("choices", ()):
            if choice.get("token_ids"):
                made = _made(choice, number, how)
                forwarded = max(n_given, position + 1) - position + len(made.id) - 1
                yield Ran(_step(number, position, forwarded), None, made)
                position += forwarded
        if dose is not None and "dose" in event.get("expert_plan", {}):
            said: Mapping[str, int] = event["expert_plan"]["dose"]
            dose.told(said["tokens"], said["tokens_changed"], said["slots_changed"], said["tokens_emptied"])


def _step(number: int, start: int, n: int) -> Step:
    return Step(np.arange(n), np.full(n, number), np.arange(start, start + n), n)


def _made(choice: Mapping[str, Any], number: int, how: Decoding) -> Made:
    ids, told = choice["token_ids"], choice["logprobs"] or {}
    ends = np.zeros(len(ids), bool)
    ends[-1] = choice.get("finish_reason") is not None
    logprobs = np.array(told.get("token_logprobs") or [float("nan")] * len(ids), np.float32)
    best = [_likeliest(by, how.alternatives) for by in told.get("top_logprobs") or []] if how.alternatives else []
    likeliest = None
    if best:
        table = np.array(best, np.float64)
        likeliest = table[..., 0].astype(np.int64), table[..., 1].astype(np.float32)
    return Made(np.full(len(ids), number), np.array(ids, np.int64), logprobs, ends, likeliest)


def _likeliest(by: Mapping[str, float], n: int) -> Sequence[tuple[int, float]]:
    """Pairs of a token's id and its log-probability, of names like "token_id:17"."""
    pairs = [(int(name.rpartition(":")[2]), logprob) for name, logprob in by.items()]
    return sorted(pairs, key=lambda pair: -pair[1])[:n]
