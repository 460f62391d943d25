"""The forwards of a capture as nnsight traces: for models that are too large to load, on NDIF's servers.

Only what nnsight itself offers is used (its cache of modules, calls of a module inside the trace), no hook of ours, so the
same trace runs here and there. Every column of a native store is there, up to rounding; what needs hooks is refused: edits,
sampling with seeds of our own, experts that come through an adapter, models in a TransformerBridge.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from workbench import intrace
from workbench.errors import WorkbenchError
from workbench.generation import Decoding, Response, padded
from workbench.hooks import plan_in_force
from workbench.intrace import forward_numbers, token_logprobs
from workbench.ndif import plainly, shipped
from workbench.records import (
    Chunk,
    ForwardRecord,
    Harvest,
    LayerRecord,
    Magnitude,
    OutputRows,
    ResidualRecord,
    SharedRecord,
    prompt_step,
)

if TYPE_CHECKING:
    from workbench.model import MoEBlock, MoEModel

_OFF = {torch.float32: 1e-4, torch.float64: 1e-4}  # of the experts' sum, as `workbench.loading.check` has it


def check_traceable(model: "MoEModel", remote: bool | str = False, keep: Collection[str] = ()) -> None:
    """Raises `WorkbenchError` where a trace could not see what a native capture sees."""
    name, runtime = model.anatomy.model, model.runtime
    if model.nnsight is None:
        raise WorkbenchError(
            f"{name} is no nnsight model, and backend='nnsight' captures in nnsight's traces: load(TransformersModel(...)) "
            f"first, or leave the backend away."
        )
    if runtime.wrapped:
        raise WorkbenchError(f"{name} lies in a TransformerBridge; capture it without backend='nnsight'.")
    if any(block.adapter is not None for block in runtime.layout.blocks.values()):
        raise WorkbenchError(
            f"{name} routes outside of transformers' experts interface, and what stands in for it runs in hooks of ours; "
            f"capture it without backend='nnsight'."
        )
    if {"norms", "outputs"} & set(keep) and any("identity" in n for x in model.anatomy.layers for n in x.notes):
        raise WorkbenchError(
            f"{name} has zero (identity) experts, whose module cannot be called with one slot, as norms and outputs need in a "
            f"trace; keep 'residual' and 'logits' alone, or leave backend='nnsight' away."
        )
    if plan_in_force(model):
        raise WorkbenchError(
            f"A plan steers {name} by hooks of ours, which a trace does not carry; capture it without backend='nnsight'."
        )
    if runtime.far and not remote:
        raise WorkbenchError(f"The weights of {name} are on NDIF, not here; capture it with remote=True.")


@dataclass
class TracedRunner:
    """Runs batches as traces. `forwarded(n)` is called with the real tokens of each.

    keep, layers, experts as in `recording`; remote is nnsight's: False, True (NDIF), "local" or a host's URL.
    """

    model: "MoEModel"
    keep: frozenset[str]
    layers: Collection[int] | None
    experts: Collection[tuple[int, int]] | None
    remote: bool | str
    forwarded: Callable[[int], None]

    def __post_init__(self) -> None:
        tokenizer = self.model.tokenizer
        self.pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
        hf, root = self.model.hf, self.model.nnsight.path
        self.names = {module: f"{root}.{name}" for name, module in hf.named_modules()}
        self.places = {n: self._place(n, block) for n, block in self.model.runtime.layout.blocks.items()}
        stays = "residual" in self.keep and not any("residual" in x.refused for x in self.model.anatomy.layers)
        self.stream = [self.names[x] for x in self.model.runtime.layout.layers] if stays else []
        self.modules = sorted({p for place in self.places.values() for p in _paths(place)} | set(self.stream))
        envoys = {envoy.path: envoy for envoy in self.model.nnsight.modules()}
        self.calls = {n: envoys[place["experts"]] for n, place in self.places.items()}

    def _place(self, layer: int, block: "MoEBlock") -> dict[str, Any]:
        """A layer's modules by path, and what is wanted of it, as plain values that can be sent away."""
        runtime, here = self.model.runtime, self.layers is None or layer in self.layers
        before = runtime.before.get(layer) if "residual" in self.keep else None
        return {
            "router": self.names[block.router],
            "experts": self.names[block.experts],
            "shared": [self.names[x] for x in block.shared],
            "gate": None if block.shared_gate is None else self.names[block.shared_gate],
            "before": None if before is None else self.names[before],
            "multiplier": runtime.multipliers.get(layer),
            "probabilities": self.model.anatomy.layer(layer).probabilities,
            "logits": "logits" in self.keep and here,
            "sizes": "norms" in self.keep,
            "vectors": "outputs" in self.keep and here,
            "wanted": None if self.experts is None else [e for n, e in self.experts if n == layer],
        }

    def over(self, rows: Sequence[Sequence[int]]) -> Chunk:
        """One trace over whole sequences, padded on the right."""
        return self._run(*padded(rows, self.pad, left=False))[0]

    def generate(
        self, rows: Sequence[Sequence[int]], seeds: Sequence[int], decoding: Decoding
    ) -> tuple[Chunk, list[Response]]:
        """Greedy responses, and one more trace over prompts and responses: the last token of each is never forwarded."""
        if decoding.temperature:
            raise WorkbenchError(
                "capture(backend='nnsight') generates greedily: each response's seed needs our own decode loop; leave the "
                "temperature at 0, or give responses."
            )
        if "stop_strings" in decoding.shaping:
            raise WorkbenchError(
                f"The generation config of {self.model.anatomy.model} has stop_strings, which a trace cannot look for; set "
                f"model.hf.generation_config.stop_strings = None, or leave backend='nnsight' away."
            )
        together = [rows] if not decoding.shaping else [[row] for row in rows]  # padding would count as words said
        answers = [answer for some in together for answer in self._answers(some, decoding)]
        whole = [[*row, *answer] for row, answer in zip(rows, answers, strict=True)]
        ids, mask = padded(whole, self.pad, left=False)
        starts, ends = ([len(row) - 1 for row in some] for some in (rows, whole))
        mask[np.arange(len(whole)), ends] = (
            0  # the last tokens: their log-probabilities are read off the position before
        )
        chunk, logprobs = self._run(ids, mask, logprobs=True)
        said = zip(answers, starts, ends, strict=True)
        return chunk, [
            Response(tuple(ids), tuple(logprobs[row, start:end].tolist())) for row, (ids, start, end) in enumerate(said)
        ]

    def _run(self, ids: np.ndarray, mask: np.ndarray, *, logprobs: bool = False) -> tuple[Chunk, np.ndarray]:
        found, harvest = self._trace(torch.from_numpy(ids), torch.from_numpy(mask), logprobs), Harvest()
        harvest.add(self._record(found), prompt_step(mask))
        self.forwarded(int(mask.sum()))
        return harvest.finish(), found["logprobs"].cpu().numpy() if logprobs else np.zeros(0)

    def _answers(self, rows: Sequence[Sequence[int]], decoding: Decoding) -> list[list[int]]:
        ids, mask = (torch.from_numpy(x) for x in padded(rows, self.pad, left=True))
        from nnsight import save

        wrapped = self.model.nnsight
        how: dict[str, Any] = {"max_new_tokens": decoding.tokens, "do_sample": False, "num_beams": 1}
        how |= {"attention_mask": mask, "pad_token_id": self.pad, "eos_token_id": sorted(decoding.stop) or None}
        how |= decoding.shaping
        with (
            plainly(self.remote),
            torch.no_grad(),
            wrapped.generate(input_ids=ids, remote=self.remote, **how) as tracer,
        ):
            made = save(tracer.result)
        return [_until(row[ids.shape[1] :].tolist(), decoding) for row in made]

    def _trace(self, ids: Tensor, mask: Tensor, logprobs: bool) -> dict[str, Any]:
        """The numbers of one forward: {"visits", "layers", "residual", "logprobs"}."""
        from nnsight import save

        # a trace sends away the names that its body reads: plain values, and modules by their paths
        wrapped, modules, places, calls, stream = self.model.nnsight, self.modules, self.places, self.calls, self.stream
        options: dict[str, Any] = {"attention_mask": mask, "use_cache": False, "remote": self.remote}
        with plainly(self.remote), shipped(intrace), torch.no_grad(), wrapped.trace(input_ids=ids, **options) as tracer:
            seen = tracer.cache(modules=modules, device=None, include_inputs=True)
            logits = wrapped.output.logits  # the forward's end: by now the cache is full
            entries = seen._cache.entries
            numbers = save(forward_numbers(entries, modules, places, calls, stream))
            if logprobs:
                numbers["logprobs"] = token_logprobs(logits, ids)
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
        layers = {n: self._layer(n, numbers) for n, numbers in found["layers"].items()}
        residual = {n: ResidualRecord(**numbers) for n, numbers in sorted(found["residual"].items())}
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
        return LayerRecord(found["index"], found["weight"], found.get("logits"), l2, largest, channel, vectors, shared)


def _paths(place: dict[str, Any]) -> list[str]:
    """Modules of a layer that a trace must see."""
    alone = [
        place["experts"],
        place["gate"],
        place["before"],
        *place["shared"],
        place["router"] if place["logits"] else None,
    ]
    return [path for path in alone if path is not None]


def _until(ids: list[int], decoding: Decoding) -> list[int]:
    """A response up to the first token that ends it, that token included."""
    for n, token in enumerate(ids):
        if token in decoding.stop:
            return ids[: n + 1]
    return ids[: decoding.tokens]
