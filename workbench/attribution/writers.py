"""What writes a massive activation: at one channel of one token, what a layer found there and what attention and each expert add.

A store tells sizes alone (`probes.writers_of`); this runs the model. The parts are signed and add up to what the layer answers.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor

from workbench.anatomy import ExpertRef
from workbench.answering import encode_all
from workbench.errors import WorkbenchError
from workbench.hooks import plan_in_force, recording
from workbench.model import first, unwrapped
from workbench.prompts import PromptSet, read_prompts
from workbench.records import LayerRecord

if TYPE_CHECKING:
    from collections.abc import Iterable

    from workbench.model import MoEModel

_PLACE = ["prompt_id", "position", "layer", "channel"]
_LEFT = {torch.float32: 1e-3, torch.float64: 1e-6}
"""How much of a layer's step, by norm, may be none of its parts; 3 % in narrower floats."""


class _Stream(NamedTuple):
    """One sequence through one layer, each [tokens, hidden] in float64."""

    before: Tensor  # as it enters the layer
    middle: Tensor  # behind attention, before the experts' norm
    after: Tensor
    routed: Tensor  # the routed experts' sum
    record: LayerRecord


@torch.no_grad()
def writers(model: "MoEModel", prompts: "PromptSet | str | Path | Iterable[Any]", places: pd.DataFrame) -> pd.DataFrame:
    """What adds up to the residual stream behind a layer, at each of `places`; one forward for each prompt among them.

    places  prompt_id, position, layer, channel: as `probes.writers_of(store)` has them, repeated or not

    prompt_id, position, layer, channel, part, value (signed, in units of the residual stream), share (value / what the layer
    answers there). Parts are "before" (as it enters the layer), "attention" (all up to the experts' norm), each expert that the
    token received by its name (times its routing weight, its gate and the layer's factor), and "rest" (rounding). They add up
    to what the layer answers.
    Raises `WorkbenchError` for a layer that is no such sum: a dense one, a norm behind the experts, an MLP beside them; and
    inside `with steered`, where what an expert writes is not what arrives.
    """
    if plan_in_force(model):
        raise WorkbenchError("writers takes the bare model apart; call it outside `with steered`.")
    wanted = places[_PLACE].drop_duplicates()
    layers = sorted({int(layer) for layer in wanted["layer"]})
    for layer in layers:
        _check_sum(model, layer)
    said = read_prompts(prompts)
    rows = dict(zip((p.id for p in said), encode_all(model, said, 0), strict=True))
    found: list[dict[str, Any]] = []
    by_prompt: Any = wanted.groupby("prompt_id", sort=False, observed=True)
    for prompt, here in by_prompt:
        if prompt not in rows:
            raise WorkbenchError(f"places names the prompt '{prompt}', which is none of these {len(rows)} prompts.")
        streams = _run(model, rows[str(prompt)], layers)
        for place in here.to_dict("records"):
            found += [{**place, **part} for part in _parts(model, streams, place)]
    return pd.DataFrame(found, columns=[*_PLACE, "part", "value", "share"])


def _check_sum(model: "MoEModel", layer: int) -> None:
    if layer not in model.anatomy.moe_layers:
        raise WorkbenchError(
            f"Layer {layer} of {model.anatomy.model} has no experts; ask about {model.anatomy.moe_layers}."
        )
    why = model.anatomy.layer(layer).refused.get("routed_change")
    if why is not None or model.runtime.multipliers.get(layer) is None:
        raise WorkbenchError(
            f"What writes into the residual stream of layer {layer} of {model.anatomy.model} cannot be told apart: "
            f"{why or 'where its experts begin is not known'}."
        )


def _run(model: "MoEModel", ids: Sequence[int], layers: Sequence[int]) -> dict[int, _Stream]:
    """One forward of a sequence by itself, by layer."""
    seen: dict[tuple[str, int], Tensor] = {}
    with recording(model, {"outputs"}, layers) as recorder, unwrapped(model.hf), _watched(model, layers, seen):
        model.hf(torch.tensor([list(ids)], device=model.device), use_cache=False)
        routed, record = recorder.routed(), recorder.take()
    return {
        n: _Stream(seen["before", n], seen["middle", n], seen["after", n], _rows(routed[n]), record.layers[n])
        for n in layers
    }


@contextmanager
def _watched(model: "MoEModel", layers: Sequence[int], seen: dict[tuple[str, int], Tensor]) -> Iterator[None]:
    """While open, the stream around and inside of these layers is noted in `seen`."""
    runtime = model.runtime
    with ExitStack() as stack:
        for n in layers:
            enter = partial(_on_entering, seen, ("before", n))
            stack.callback(runtime.layout.layers[n].register_forward_pre_hook(enter, with_kwargs=True).remove)
            norm = partial(_on_entering, seen, ("middle", n))
            stack.callback(runtime.before[n].register_forward_pre_hook(norm, with_kwargs=True).remove)
            leave = partial(_on_leaving, seen, ("after", n))
            stack.callback(runtime.layout.layers[n].register_forward_hook(leave).remove)
        yield


def _on_entering(seen: dict[Any, Tensor], at: tuple[str, int], module: Any, args: Any, kwargs: Any) -> None:
    seen[at] = _rows(args[0] if args else kwargs["hidden_states"])


def _on_leaving(seen: dict[Any, Tensor], at: tuple[str, int], module: Any, args: Any, out: Any) -> None:
    seen[at] = _rows(first(out))


def _rows(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().double().reshape(-1, tensor.shape[-1])


def _parts(model: "MoEModel", streams: dict[int, _Stream], place: dict[str, Any]) -> Iterator[dict[str, Any]]:
    layer, position, channel = (int(place[name]) for name in ("layer", "position", "channel"))
    stream = streams[layer]
    if position >= len(stream.after) or channel >= stream.after.shape[1]:
        raise WorkbenchError(
            f"places names position {position} and channel {channel} of '{place['prompt_id']}', which has {len(stream.after)} "
            f"tokens of {stream.after.shape[1]} channels."
        )
    at = position, channel
    found = {"before": float(stream.before[at]), "attention": float(stream.middle[at] - stream.before[at])}
    found |= _experts(layer, stream, position, channel, _factors(model, layer, stream))
    after = float(stream.after[at])
    found["rest"] = after - sum(found.values())
    yield from (
        {"part": part, "value": value, "share": value / after if after else 0.0} for part, value in found.items()
    )


def _experts(layer: int, stream: _Stream, position: int, channel: int, factors: Sequence[float]) -> dict[str, float]:
    """What each expert that the token received adds, by name."""
    record, found = stream.record, dict[str, float]()
    assert record.outputs is not None
    weights, (slots, experts, vectors) = record.weight.double().reshape(-1), record.outputs
    for row in (slots // record.index.shape[1] == position).nonzero()[:, 0].tolist():
        value = weights[slots[row]] * vectors[row, channel].double()
        name = str(ExpertRef(layer, int(experts[row])))
        found[name] = found.get(name, 0.0) + factors[0] * float(value)
    for number, (factor, shared) in enumerate(zip(factors[1:], record.shared, strict=True)):
        assert shared.vectors is not None
        value = shared.weight[position].double() * shared.vectors[position, channel].double()
        found[str(ExpertRef(layer, number, True))] = factor * float(value)
    return found


def _factors(model: "MoEModel", layer: int, stream: _Stream) -> list[float]:
    """What the layer multiplies the routed sum and each shared expert with, by least squares over the sequence.

    Raises `WorkbenchError` when they leave over more than rounding: the layer then adds something else as well.
    """
    columns = [stream.routed]
    for shared in stream.record.shared:
        assert shared.vectors is not None
        columns.append(_rows(shared.weight[:, None]) * _rows(shared.vectors))
    step, matrix = (stream.after - stream.middle).reshape(-1), torch.stack([x.reshape(-1) for x in columns], 1)
    solved = torch.linalg.lstsq(matrix, step[:, None]).solution[:, 0]
    left = float((step - matrix @ solved).norm() / step.norm().clamp_min(1e-30))
    if not left <= _LEFT.get(next(model.hf.parameters()).dtype, 3e-2):
        raise WorkbenchError(
            f"Behind its attention layer {layer} of {model.anatomy.model} adds more than its experts' outputs ({left:.0%} of it "
            f"is something else), so what writes there cannot be told apart."
        )
    return solved.tolist()
