"""A model inside vLLM as an engine of the workbench: batches of requests, each under its own plan, with what they did."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from workbench.backends import Batch, Capabilities, Keep, Ran
from workbench.generation import Decoding
from workbench.model import Facts
from workbench.routing import CompiledPlan, Dose
from workbench.serving.client.calls import Calls
from workbench.serving.client.portions import Given, News, Portions
from workbench.serving.client.room import kept_bytes
from workbench.serving.requests import asking


@dataclass(eq=False)
class Vllm:
    """The engine. `can` is what its start-up check found that it can do; `folder` is kept as long as the engine is."""

    calls: Calls
    facts: Facts
    can: Capabilities
    folder: Any = None

    def run(
        self,
        batch: Batch,
        plan: CompiledPlan,
        decoding: Decoding | None = None,
        keep: Keep | None = None,
        dose: Dose | None = None,
    ) -> Generator[Ran, None, None]:
        """See `Backend.run`: a portion for each step of the engine, which schedules by itself."""
        return self.run_each(batch, [plan] * len(batch.rows), decoding, keep, [dose] * len(batch.rows))

    def score(self, batch: Batch, plan: CompiledPlan) -> Tensor:
        """See `Backend.score`."""
        return self.score_each(batch, [plan] * len(batch.rows))

    def run_each(
        self,
        batch: Batch,
        plans: Sequence[CompiledPlan],
        decoding: Decoding | None = None,
        keep: Keep | None = None,
        doses: Sequence[Dose | None] = (),
    ) -> Generator[Ran, None, None]:
        """`run`, with a plan and a dose for each row: they are in the engine together."""
        doses = doses or [None] * len(plans)
        seen = [keep is not None or (d is not None and bool(p.plan)) for p, d in zip(plans, doses, strict=True)]
        logits = self._logits(keep)
        asked = [asking(p, keep=kept, logits=logits) for p, kept in zip(plans, seen, strict=True)]
        how = [_params(decoding, seed) for seed in batch.seeds or [0] * len(batch.rows)]
        given = [Given(len(row), decoding is not None, kept) for row, kept in zip(batch.rows, seen, strict=True)]
        portions = Portions(given, self._top_k(), keep, doses)
        each, n = kept_bytes(self.facts.anatomy, logits), 0 if decoding is None else decoding.tokens
        sizes = [each * (len(row) + n) * kept for row, kept in zip(batch.rows, seen, strict=True)]
        with self.calls.requests(batch.rows, asked, how, sizes) as names:
            number, left = {name: n for n, name in enumerate(names)}, list(names)
            while left:
                outputs, pieces = self.calls.step(left), self.calls.taken(left)
                news = [_news(output, number[output.request_id], decoding) for output in outputs]
                left = [name for name in left if name not in {o.request_id for o in outputs if o.finished}]
                portion = portions.portion(news, {number[name]: found for name, found in pieces.items()})
                if portion is not None:
                    yield portion

    def score_each(self, batch: Batch, plans: Sequence[CompiledPlan]) -> Tensor:
        """`score`, with a plan for each row."""
        longest = max(batch.read) + 1
        found = torch.full((len(batch.rows), longest, self.facts.n_embeddings), float("nan"))
        told = zip(plans, batch.rows, batch.read, strict=True)
        asked = [asking(plan, prompt=len(row) - read, read=read + 1) for plan, row, read in told]
        sizes = [4 * self.facts.n_embeddings * (read + 1) for read in batch.read]
        with self.calls.requests(batch.rows, asked, [_params(None, 0)] * len(asked), sizes) as names:
            left, scores = list(names), dict[str, list[Tensor]]()
            while left:
                ended = {output.request_id for output in self.calls.step(left) if output.finished}
                for name, pieces in self.calls.taken(left).items():
                    parts = [torch.from_numpy(p.arrays["scores"]) for p in pieces if "scores" in p.arrays]
                    scores.setdefault(name, []).extend(parts)
                left = [name for name in left if name not in ended]
        for number, (name, read) in enumerate(zip(names, batch.read, strict=True)):
            found[number, longest - read - 1 :] = torch.cat(scores[name])[: read + 1, : found.shape[-1]]
        return found

    def _top_k(self) -> Mapping[int, int]:
        return {x.layer: x.top_k for x in self.facts.anatomy.layers if x.is_moe}

    def _logits(self, keep: Keep | None) -> list[int]:
        if keep is None or "logits" not in keep.what:
            return []
        return [n for n in self.facts.anatomy.moe_layers if keep.layers is None or n in keep.layers]


def _params(decoding: Decoding | None, seed: int) -> dict[str, Any]:
    """VLLM's sampling parameters; only the checkpoint's ends and the workbench's own options are in force."""
    given: dict[str, Any] = {"temperature": 0.0, "max_tokens": 1, "ignore_eos": True, "detokenize": False}
    if decoding is None:
        return given
    given |= {"max_tokens": decoding.tokens, "stop_token_ids": sorted(decoding.stop), "logprobs": decoding.alternatives}
    return given | ({"temperature": decoding.temperature, "seed": seed} if decoding.temperature else {})


def _news(output: Any, sequence: int, decoding: Decoding | None) -> News:
    """VLLM's `RequestOutput` of the tokens that came since the last one."""
    (said,) = output.outputs
    ids, n = list(said.token_ids), 0 if decoding is None else decoding.alternatives
    told = said.logprobs or [{}] * len(ids)
    logprobs = [by[i].logprob if i in by else float("nan") for i, by in zip(ids, told, strict=True)]
    best = [sorted(by.items(), key=lambda pair: pair[1].rank)[:n] for by in told]
    return News(sequence, ids, logprobs, [[(i, x.logprob) for i, x in pairs] for pairs in best], output.finished)
