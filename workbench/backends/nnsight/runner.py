"""The forwards of a batch as nnsight traces: for models that are too large to load, on NDIF's servers.

Only what nnsight itself offers is used (its cache of modules, calls of a module inside the trace), no hook of ours, so the
same trace runs here and there. Every column of a native store is there, up to rounding; what needs hooks is refused: edits,
sampling with seeds of our own, experts that come through an adapter, models in a TransformerBridge.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from workbench.backends.backend import Batch, Capabilities, Keep, Ran
from workbench.backends.nnsight import in_trace
from workbench.backends.nnsight.in_trace import forward_numbers, read_logprobs, token_logprobs
from workbench.backends.nnsight.ndif import plainly, shipped
from workbench.errors import WorkbenchError
from workbench.generation import SHAPING, Decoding, Made, padded
from workbench.model import Facts
from workbench.records import (
    KEEPS,
    ForwardRecord,
    LayerRecord,
    Magnitude,
    OutputRows,
    ResidualRecord,
    SharedRecord,
    prompt_step,
)
from workbench.routing import CompiledPlan, Dose

if TYPE_CHECKING:
    from workbench.model import MoEBlock, MoEModel

_OFF = {torch.float32: 1e-4, torch.float64: 1e-4}  # of the experts' sum, as `workbench.loading.check` has it


def check_traceable(model: "MoEModel") -> None:
    """Raises `WorkbenchError` where a trace could not see what a native capture sees."""
    name, runtime = model.anatomy.model, model.runtime
    if runtime.wrapped:
        raise WorkbenchError(f"{name} lies in a TransformerBridge; load it without engine='nnsight'.")
    if any(block.adapter is not None for block in runtime.layout.blocks.values()):
        raise WorkbenchError(
            f"{name} routes outside of transformers' experts interface, and what stands in for it runs in hooks of ours; "
            f"load it without engine='nnsight'."
        )


@dataclass
class Nnsight:
    """The engine of an nnsight model: batches as traces.

    wrapped  the nnsight model around `model.hf`
    remote   nnsight's: False, True (NDIF), "local" or a host's URL
    """

    model: "MoEModel"
    wrapped: Any
    remote: bool | str = False

    def __post_init__(self) -> None:
        tokenizer = self.model.tokenizer
        self.pad = tokenizer.pad_token_id if tokenizer is not None and tokenizer.pad_token_id is not None else 0
        hf, root = self.model.hf, self.wrapped.path
        self.names = {module: f"{root}.{name}" for name, module in hf.named_modules()}

    @property
    def can(self) -> Capabilities:
        """What traces of this model can do."""
        identity = any("identity" in note for layer in self.model.anatomy.layers for note in layer.notes)
        called = "its zero (identity) experts are no module that could be called with one slot" if identity else ""
        return Capabilities(
            "nnsight on NDIF" if self.remote and self.remote != "local" else "nnsight",
            edits=frozenset(),
            keep=KEEPS - ({"inner", "norms", "outputs"} if identity else {"inner"}),
            sampling=False,
            shaping=frozenset(SHAPING) - {"stop_strings"},
            why={
                "edits": "they are made by hooks of ours, which a trace does not carry",
                "sampling": "each response's seed needs our own decode loop",
                "inner": "neurons are computed once more by hooks of ours, which a trace does not carry",
                "stop_strings": "a trace cannot look for them",
                **(dict.fromkeys(("norms", "outputs"), called) if identity else {}),
            },
        )

    @property
    def facts(self) -> Facts:
        """What is known of its model."""
        return self.model.facts

    def run(
        self,
        batch: Batch,
        plan: CompiledPlan,
        decoding: Decoding | None = None,
        keep: Keep | None = None,
        dose: Dose | None = None,
    ) -> Generator[Ran, None, None]:
        """See `Backend.run`: everything at once.

        Generated is in a trace of its own; one more over prompts and responses tells what every token did.
        """
        rows, asked = batch.rows, keep or Keep()
        if decoding is None:
            ids, mask = padded(rows, self.pad, left=False)
            record = self._record(self._trace(ids, mask, asked))
            yield Ran(prompt_step(mask), None if keep is None else record)
            return
        together = [rows] if not decoding.shaping else [[row] for row in rows]  # padding would count as words said
        answers = [answer for some in together for answer in self._answers(some, decoding)]
        whole = [[*row, *answer] for row, answer in zip(rows, answers, strict=True)]
        ids, mask = padded(whole, self.pad, left=False)
        mask[np.arange(len(whole)), [len(row) - 1 for row in whole]] = (
            0  # the last tokens: no forward of theirs is kept
        )
        found = self._trace(ids, mask, asked, alternatives=decoding.alternatives)
        record = self._record(found)
        yield Ran(prompt_step(mask), None if keep is None else record, _made(rows, answers, found))

    def score(self, batch: Batch, plan: CompiledPlan) -> Tensor:
        """See `Backend.score`."""
        from nnsight import save

        ids, mask = map(torch.from_numpy, padded(batch.rows, self.pad, left=True))
        wrapped, longest = self.wrapped, max(batch.read)
        options: dict[str, Any] = {"attention_mask": mask, "use_cache": False, "remote": self.remote}
        options["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)
        with plainly(self.remote), shipped(in_trace), torch.no_grad(), wrapped.trace(input_ids=ids, **options):
            found = save(read_logprobs(wrapped.output.logits, longest))
        return found.detach()

    @cached_property
    def _calls(self) -> dict[int, Any]:
        """The experts modules of each layer, as a trace calls them."""
        envoys = {envoy.path: envoy for envoy in self.wrapped.modules()}
        return {n: envoys[self.names[block.experts]] for n, block in self.model.runtime.layout.blocks.items()}

    def _stream(self, keep: Keep) -> list[str]:
        """The decoder layers whose output is measured."""
        stays = "residual" in keep.what and not any("residual" in x.refused for x in self.model.anatomy.layers)
        return [self.names[x] for x in self.model.runtime.layout.layers] if stays else []

    def _place(self, layer: int, block: "MoEBlock", keep: Keep) -> dict[str, Any]:
        """A layer's modules by path, and what is wanted of it, as plain values that can be sent away."""
        runtime, here = self.model.runtime, keep.layers is None or layer in keep.layers
        before = runtime.before.get(layer) if "residual" in keep.what else None
        return {
            "router": self.names[block.router],
            "experts": self.names[block.experts],
            "shared": [self.names[x] for x in block.shared],
            "gate": None if block.shared_gate is None else self.names[block.shared_gate],
            "before": None if before is None else self.names[before],
            "multiplier": runtime.multipliers.get(layer),
            "probabilities": self.model.anatomy.layer(layer).probabilities,
            "logits": "logits" in keep.what and here,
            "reads": "router_input" in keep.what and here,
            "sizes": "norms" in keep.what,
            "vectors": "outputs" in keep.what and here,
            "wanted": None if keep.experts is None else [e for n, e in keep.experts if n == layer],
        }

    def _answers(self, rows: Sequence[Sequence[int]], decoding: Decoding) -> list[list[int]]:
        ids, mask = (torch.from_numpy(x) for x in padded(rows, self.pad, left=True))
        from nnsight import save

        wrapped = self.wrapped
        how: dict[str, Any] = {"max_new_tokens": decoding.tokens, "do_sample": False, "num_beams": 1}
        how |= {"attention_mask": mask, "pad_token_id": self.pad, "eos_token_id": sorted(decoding.stop) or None}
        how |= decoding.shaping
        with (
            plainly(self.remote),
            torch.no_grad(),
            wrapped.generate(input_ids=ids, remote=self.remote, **how) as tracer,
        ):
            made = save(tracer.result)
        return [until(row[ids.shape[1] :].tolist(), decoding) for row in made]

    def _trace(
        self, ids: np.ndarray, mask: np.ndarray, keep: Keep, *, alternatives: int | None = None
    ) -> dict[str, Any]:
        """The numbers of one forward: {"visits", "layers", "residual"}, and {"logprobs", "likeliest"} with `alternatives`."""
        from nnsight import save

        # a trace sends away the names that its body reads: plain values, and modules by their paths
        wrapped, given, calls, stream = self.wrapped, torch.from_numpy(ids), self._calls, self._stream(keep)
        places = {n: self._place(n, block, keep) for n, block in self.model.runtime.layout.blocks.items()}
        modules = sorted({path for place in places.values() for path in paths(place)} | set(stream))
        options: dict[str, Any] = {"attention_mask": torch.from_numpy(mask), "use_cache": False, "remote": self.remote}
        with (
            plainly(self.remote),
            shipped(in_trace),
            torch.no_grad(),
            wrapped.trace(input_ids=given, **options) as tracer,
        ):
            seen = tracer.cache(modules=modules, device=None, include_inputs=True)
            logits = wrapped.output.logits  # the forward's end: by now the cache is full
            entries = seen._cache.entries
            numbers = save(forward_numbers(entries, modules, places, calls, stream))
            if alternatives is not None:
                numbers.update(token_logprobs(logits, given, alternatives))
            entries.clear()  # what is saved comes back: the hidden states stay where they are
        return numbers

    def _record(self, found: dict[str, Any]) -> ForwardRecord:
        silent = {path: n for path, n in found["visits"].items() if n != 1}
        if silent:
            path, n = next(iter(silent.items()))
            raise WorkbenchError(
                f"'{path}' ran {n} times in one trace of {self.model.anatomy.model}, not once, so a kernel or a wrapper bypasses "
                f"it there; capture natively, or a model without that kernel."
            )
        layers = {n: self._layer(n, numbers).each(Tensor.detach) for n, numbers in found["layers"].items()}
        residual = {n: ResidualRecord(**r).each(Tensor.detach) for n, r in sorted(found["residual"].items())}
        return ForwardRecord(layers, residual)

    def _layer(self, layer: int, found: dict[str, Any]) -> LayerRecord:
        most = _OFF.get(self.model.dtype, 3e-2)
        if not found.get("off", 0.0) <= most:
            raise WorkbenchError(
                f"Layer {layer}: expert outputs called again in the trace do not add up to what the experts said (off by "
                f"{found['off']:.2g} of its norm), so sizes would be wrong; capture with keep without norms and outputs."
            )
        l2, largest, channel = found.get("size") or (None, None, None)
        vectors = None if found.get("vectors") is None else OutputRows(*found["vectors"])
        shared = tuple(
            SharedRecord(s["weight"], None if s["size"] is None else Magnitude(*s["size"]), s["vectors"])
            for s in found["shared"]
        )
        return LayerRecord(
            found["index"],
            found["weight"],
            found.get("logits"),
            l2,
            largest,
            channel,
            vectors,
            shared,
            found.get("router_input"),
        )


def paths(place: dict[str, Any]) -> list[str]:
    """Modules of a layer that a trace must see."""
    alone = [
        place["experts"],
        place["gate"],
        place["before"],
        *place["shared"],
        place["router"] if place["logits"] or place["reads"] else None,
    ]
    return [path for path in alone if path is not None]


def _made(rows: Sequence[Sequence[int]], answers: Sequence[Sequence[int]], found: dict[str, Any]) -> Made:
    """The answers as tokens; their log-probabilities are read off the positions before them."""
    row = np.repeat(np.arange(len(rows)), [len(answer) for answer in answers])
    before = np.concatenate([np.arange(len(a)) + len(r) - 1 for r, a in zip(rows, answers, strict=True)])
    likeliest = None
    if "likeliest" in found:
        ids, logprobs = (part.detach().cpu().numpy()[row, before] for part in found["likeliest"])
        likeliest = (ids, logprobs)
    ids = np.array([i for answer in answers for i in answer], np.int64)
    return Made(
        row, ids, found["logprobs"].detach().cpu().numpy()[row, before], np.diff(row, append=len(rows)) > 0, likeliest
    )


def until(ids: list[int], decoding: Decoding) -> list[int]:
    """A response up to the first token that ends it, that token included."""
    for n, token in enumerate(ids):
        if token in decoding.stop:
            return ids[: n + 1]
    return ids[: decoding.tokens]
