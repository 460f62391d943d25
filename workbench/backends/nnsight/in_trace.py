"""What runs inside an nnsight trace, here or on NDIF: from what modules said to the numbers that a store keeps.

These functions travel to the server as source, with the files that they import from, so they know torch and nothing of a
model, a hook or a store. Arguments are plain values: `entries` is nnsight's cache, {module path: visits}, each with `.inputs`
and `.output`; a place is a dict (see the runner). Nothing as large as a hidden state leaves the trace unless it was asked for.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from workbench.model import first, logits_first
from workbench.records import magnitude, median_abs, routed_change

Place = Mapping[str, Any]


def arguments(entry: Any) -> list[Any]:
    """What a module was called with, in order."""
    given, named = entry.inputs
    return [*given, *named.values()]


def rows(tensor: Tensor) -> Tensor:
    """[..., width] as [rows, width]."""
    return tensor.reshape(-1, tensor.shape[-1])


def forward_numbers(
    entries: Mapping[str, Any],
    modules: Sequence[str],
    places: Mapping[int, Place],
    calls: Mapping[int, Any],
    stream: Sequence[str],
) -> dict[str, Any]:
    """Everything of one forward: visits of each of `modules`, and unless one was missed, layers and residual stream.

    places and calls are the MoE layers' (`calls` their experts modules); stream the decoder layers' paths, or none.
    """
    visits = {path: len(entries.get(path, ())) for path in modules}
    if any(n != 1 for n in visits.values()):
        return {"visits": visits}
    layers = {n: layer_numbers(place, entries, calls[n]) for n, place in places.items()}
    residual = {n: residual_numbers(n, path, places.get(n), entries) for n, path in enumerate(stream)}
    if stream:
        residual[-1] = residual_numbers(-1, stream[0], None, entries)
    return {"visits": visits, "layers": layers, "residual": residual}


def layer_numbers(place: Place, entries: Mapping[str, Any], experts: Any) -> dict[str, Any]:
    """One MoE layer: slots as the experts received them, and what `place` wants beside them.

    `experts` is the experts module itself. Called with every slot as a token of its own and weight 1, it gives each expert's
    own output, whatever the layout of its weights; `off` is how far their weighted sum is from what it said in the forward.
    """
    entry = entries[place["experts"]][0]
    hidden, index, weight = arguments(entry)[:3]
    found: dict[str, Any] = {"index": index, "weight": weight}
    if place["logits"]:
        found["logits"] = logits_of(logits_first(entries[place["router"]][0].output)[0], place["probabilities"])
    if place["reads"]:
        found["router_input"] = rows(arguments(entries[place["router"]][0])[0])
    if place["sizes"] or place["vectors"]:
        own = experts(
            rows(hidden).repeat_interleave(index.shape[-1], 0),
            index.reshape(-1, 1),
            torch.ones_like(weight).reshape(-1, 1),
        )
        found |= own_outputs(place, index, weight, rows(own), rows(first(entry.output)))
    found["shared"] = [shared_numbers(place, number, entries) for number in range(len(place["shared"]))]
    return found


def logits_of(answered: Tensor, probabilities: bool) -> Tensor:
    """The router's logits: their logarithm where it answers with probabilities."""
    return answered.float().clamp_min(torch.finfo(torch.float32).tiny).log() if probabilities else answered


def own_outputs(place: Place, index: Tensor, weight: Tensor, own: Tensor, routed: Tensor) -> dict[str, Any]:
    """Sizes [rows, k] and chosen vectors of the slots' own outputs [rows * k, width]."""
    again = (own.float().view(*index.shape, -1) * weight.float()[..., None]).sum(1)
    found: dict[str, Any] = {"off": ((again - routed.float()).norm() / routed.float().norm().clamp_min(1e-30)).item()}
    if place["sizes"]:
        found["size"] = [part.view(index.shape) for part in magnitude(own)]
    if place["vectors"]:
        slots = torch.arange(index.numel(), device=index.device)
        if place["wanted"] is not None:
            chosen = torch.tensor(place["wanted"], dtype=torch.long, device=index.device)
            slots = slots[torch.isin(index.reshape(-1), chosen)]
        found["vectors"] = (slots, index.reshape(-1)[slots], own[slots])
    return found


def shared_numbers(place: Place, number: int, entries: Mapping[str, Any]) -> dict[str, Any]:
    """A shared expert: its weight [rows] (1, or its gate's sigmoid), the size of its output, its vectors when chosen."""
    said = rows(entries[place["shared"][number]][0].output)
    gate = None if place["gate"] is None else entries[place["gate"]][0].output
    weight = torch.ones(len(said), device=said.device) if gate is None else gate.reshape(-1).sigmoid().float()
    wanted = place["vectors"] and (place["wanted"] is None or -1 - number in place["wanted"])
    return {
        "weight": weight,
        "size": list(magnitude(said)) if place["sizes"] else None,
        "vectors": said if wanted else None,
    }


def residual_numbers(layer: int, path: str, place: Place | None, entries: Mapping[str, Any]) -> dict[str, Any]:
    """The residual stream at a decoder layer's output; `layer` -1: at the input of `path`. `place` where it routes."""
    entry = entries[path][0]
    stream = rows(arguments(entry)[0] if layer < 0 else first(entry.output))
    l2, largest, channel = magnitude(stream)
    change = None
    if place is not None and place["before"] is not None and place["multiplier"] is not None:
        before = rows(arguments(entries[place["before"]][0])[0])
        routed = first(entries[place["experts"]][0].output)
        change = routed_change(before, routed.reshape(before.shape), place["multiplier"])
    return {"l2": l2, "max_abs": largest, "median_abs": median_abs(stream), "argmax": channel, "routed_change": change}


def token_logprobs(logits: Tensor, ids: Tensor, n: int) -> dict[str, Any]:
    """Log-probability [batch, tokens - 1] that each token but the first had where it stands, and the `n` likeliest there."""
    shares = logits[:, :-1].float().log_softmax(-1)
    found: dict[str, Any] = {"logprobs": shares.gather(-1, ids[:, 1:, None].to(logits.device))[..., 0]}
    if n:
        best = shares.topk(min(n, shares.shape[-1]))
        found["likeliest"] = (best.indices, best.values)
    return found


def read_logprobs(logits: Tensor, longest: int) -> Tensor:
    """Log-probabilities [batch, longest + 1, vocabulary] at the last positions."""
    return logits[:, -(longest + 1) :].float().log_softmax(-1)


def survey_numbers(place: Mapping[str, Any], entries: Mapping[str, Any]) -> dict[str, Any]:
    """What one layer did, for `workbench.survey`: answers of its modules, and of those beside the block what bears on it.

    place  paths by kind: router, experts, block, decoder, shared (several), gate, beside (the decoder's other children)
    """
    block = entries[place["block"]]
    given = arguments(block[0])[0] if block else None
    beside = {}
    for name, path in place["beside"].items():
        for entry in entries.get(path, ()):
            came, out = (arguments(entry) or [None])[0], entry.output
            if isinstance(came, Tensor) and isinstance(out, Tensor) and (same(out, given) or same(came, given)):
                beside[name] = (came, out)
    one = {
        kind: [first(entry.output) for entry in entries.get(place[kind], ())]
        for kind in ("block", "decoder", "experts", "gate")
    }
    return {
        "router": [
            logits_first(tuple(x for x in entry.output if isinstance(x, Tensor)))
            for entry in entries.get(place["router"], ())
        ],
        "received": [(None, *arguments(entry)[1:3]) for entry in entries.get(place["experts"], ())],
        "shared": {path: entries[path][0].output for path in place["shared"] if entries.get(path)},
        "given": given,
        "beside": beside,
        **one,
    }


def same(a: Any, b: Any) -> bool:
    """Whether two tensors are equal, whatever they are."""
    return isinstance(b, Tensor) and a.shape == b.shape and torch.equal(a, b)


def held_numbers(module: Any, vectors: Sequence[str], most: int) -> dict[str, Any]:
    """Of a model's weights: their dtype, about `most` evenly spaced values of each in bf16, and `vectors` as they are."""
    values: dict[str, Tensor] = {}
    for name, parameter in module.named_parameters():
        flat = parameter.detach().reshape(-1)
        values[name] = flat[:: max(1, flat.numel() // most)].to(torch.bfloat16).cpu()
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    return {
        "dtype": str(module.dtype),
        "values": values,
        "vectors": {name: tensors[name].detach().cpu() for name in vectors if name in tensors},
    }
