"""What makes a model the one it is: its weights under their own names, how its routers are set, which adapters are active.

The digest goes into the fingerprint and is the same in every process: wrappers' names, inactive adapters, dtypes do not matter.
`switches` is compared within one process, before every block that steers or records: cheap, and it holds every setting.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from workbench.model.layout import Layout, MoEBlock
from workbench.model.placement import named_values, value
from workbench.model.wrapped import unwrapped

_SAMPLE = 4096  # values read of each tensor
_PLAIN = (bool, int, float, str)
_WRAPPERS = ("base_layer", "original_module", "_orig_mod")  # of PEFT and of torch.compile: names, not weights
_SETTINGS = {
    "renormalise": ("norm_topk_prob", "route_norm"),
    "scaling": ("routed_scaling_factor", "router_scaling_factor", "route_scale", "output_multiplier"),
    "groups": ("num_group", "n_group", "num_expert_group"),
    "groups kept": ("topk_group",),
    "score": ("topk_method", "expert_selection_fn", "score_func", "scoring_func"),
    "jitter": ("router_jitter_noise",),
    "cap": ("router_logit_softcapping",),
    "correction": ("use_expert_bias",),
}
_NEUTRAL = {"scaling": 1.0, "groups": 1.0, "groups kept": 1.0}  # as if it were not there, beside 0
_COUNTS = ("top_k", "num_experts_per_tok", "moe_top_k")


class Weights(NamedTuple):
    """By parameter: its shape, and about 4,096 evenly spaced values of it, rounded to bf16: float32 or bfloat16 does not matter.

    Weights that went through float16 are rounded twice: a model loaded in it is another one to plans and scores.
    """

    shapes: dict[str, tuple[int, ...]]
    values: Mapping[str, Tensor]


@torch.no_grad()
def read_weights(hf: Any, far: Mapping[str, Tensor] | None = None) -> Weights:
    """Samples every parameter; those that accelerate keeps on disk are read there. `far`: the values where they are on NDIF."""
    with unwrapped(hf):
        shapes = {name: tuple(parameter.shape) for name, parameter in hf.named_parameters()}
        return Weights(shapes, far if far is not None else {name: sampled(x) for name, x in named_values(hf)})


def weights_digest(weights: Weights) -> str:
    """16 hex digits of all parameters under the names that they have here: what unversioned fingerprints are made of."""
    digest = hashlib.sha256()
    for name in sorted(weights.shapes):
        _add(digest, name, weights.shapes[name], weights.values[name])
    return digest.hexdigest()[:16]


@torch.no_grad()
def identity(hf: Any, layout: Layout, weights: Weights) -> str:
    """16 hex digits of the weights that take part, of the routers' corrections and settings, and of the active adapters."""
    with unwrapped(hf):
        base, adapters = _sorted_out(hf, weights)
    whole = hashlib.sha256()
    for name in sorted(base):
        _add(whole, name, weights.shapes[base[name]], weights.values[base[name]])
    for name, vector in sorted(corrections(layout), key=lambda found: found[0]):
        _add(whole, name, tuple(vector.shape), sampled(vector))
    settings = [[layer, settings_of(block)] for layer, block in sorted(layout.blocks.items())]
    whole.update(json.dumps([settings, sorted(adapters)]).encode())
    return whole.hexdigest()[:16]


def active_adapters(hf: Any) -> tuple[str, ...]:
    """Names of the adapters that take part in forwards now, those merged into the weights included."""
    tuners = _tuners(hf).values()
    found = {name for t in tuners for name in (_own(t, "merged_adapters") or at_work(t))}
    return tuple(sorted(found))


def switches(hf: Any, layout: Layout) -> tuple[Any, ...]:
    """Everything beside weights that decides what the MoE layers compute, as plain values: changed means look again."""
    held = [plain_value(thing) for block in layout.blocks.values() for thing in _places(block)]
    tuned = [switch_of(module) for module in hf.modules() if _is_tuner(module)]
    return (getattr(hf, "_adapters_disabled", False), tuple(held), tuple(tuned))


# ---- weights


def sampled(parameter: Tensor) -> Tensor:
    flat = parameter.detach().reshape(-1)
    return flat[:: max(1, flat.numel() // _SAMPLE)].to(torch.bfloat16).cpu()


def _add(digest: Any, name: str, shape: tuple[int, ...], values: Tensor) -> None:
    digest.update(f"{name}{shape}".encode())
    digest.update(values.contiguous().view(torch.int16).numpy().tobytes())


def _sorted_out(hf: Any, weights: Weights) -> tuple[dict[str, str], list[str]]:
    """The model's own parameters by the names they have without wrappers, and a digest of each adapter at work."""
    tuners, inside, base = _tuners(hf), _inside(hf), dict[str, str]()
    theirs: dict[str, list[tuple[str, str, Any]]] = {}
    for full in sorted(weights.shapes):
        tuner, adapter, name = _owner(full.removeprefix(inside), full, tuners)
        if tuner is None:
            if full.startswith(inside) or not getattr(hf, "_adapters_disabled", False):
                base.setdefault(bare(name), full)
        elif adapter in at_work(tuner):
            if "original_module" in tuner._modules:  # a whole module in place of another
                base[bare(name)] = full
            else:
                theirs.setdefault(adapter, []).append((name, full, factor_of(tuner, adapter)))
    return base, [_adapter_digest(found, weights) for found in theirs.values()]


def _adapter_digest(found: list[tuple[str, str, Any]], weights: Weights) -> str:
    """Without the adapter's own name: the same weights under another one are the same adapter."""
    digest = hashlib.sha256()
    for name, full, scaling in sorted(found, key=lambda row: row[:2]):
        _add(digest, f"{name} x {scaling}", weights.shapes[full], weights.values[full])
    return digest.hexdigest()


def _owner(name: str, full: str, tuners: dict[str, Any]) -> tuple[Any, str, str]:
    """The adapter layer that a parameter belongs to (None: the model itself), the adapter, and the name without the adapter's."""
    before, own = full.removesuffix(name), name.split(".")
    for i in range(len(own) - 2, -1, -1):
        tuner = tuners.get((before + ".".join(own[:i])).rstrip("."))
        if tuner is not None and own[i] in tuner.adapter_layer_names:
            rest = own[i + 2 :] if "original_module" in tuner._modules else [own[i], *own[i + 2 :]]
            return tuner, own[i + 1], ".".join([*own[:i], *rest])
    return None, "", name


def bare(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def _inside(hf: Any) -> str:
    """The prefix that a PEFT model puts before the names of the model in it."""
    inner = hf.get_base_model() if hasattr(hf, "get_base_model") else hf
    return next((f"{name}." for name, module in hf.named_modules() if module is inner and name), "")


def corrections(layout: Layout) -> Iterator[tuple[str, Tensor]]:
    """Vectors in routers and blocks that are no parameters: correction biases."""
    for layer, block in layout.blocks.items():
        for module in dict.fromkeys((*block.router.modules(), block.block)):
            for name, buffer in module.named_buffers(recurse=False):
                held = name not in module._non_persistent_buffers_set and buffer.is_floating_point()
                if held and buffer.ndim == 1 and buffer.numel() <= _SAMPLE:
                    yield f"{layer}.{name}", value(module, name)


# ---- settings


def settings_of(block: MoEBlock) -> dict[str, list[Any]]:
    """What is set, wherever it stands and whatever the family calls it; left out what changes nothing."""
    found: dict[str, list[Any]] = {}
    for meaning, names in _SETTINGS.items():
        held = {_number(vars(place)[n]) for place in _places(block) for n in names if n in vars(place)}
        kept = [x for x in held if x and x != _NEUTRAL.get(meaning)]
        if kept:
            found[meaning] = sorted(kept, key=str)
    return found


def _number(thing: Any) -> Any:
    return float(thing) if isinstance(thing, bool | int | float) else thing if isinstance(thing, str) else None


def _places(block: MoEBlock) -> list[Any]:
    """Where a block's settings can stand: its router and all that is in it, the block, what lies directly in it, its adapter."""
    modules = dict.fromkeys((*block.router.modules(), block.block, *block.block.children(), _innermost(block.experts)))
    return [*modules, *([block.adapter] if hasattr(block.adapter, "__dict__") else [])]


def _innermost(module: nn.Module) -> nn.Module:
    inner = module._modules.get("base_layer")
    return module if inner is None else _innermost(inner)


def plain_value(place: Any) -> tuple[Any, ...]:
    """Public plain values of a module, and of its config what is about routing (some families read it in every forward)."""
    own = [(n, x) for n, x in vars(place).items() if isinstance(x, _PLAIN) and n[0] != "_" and n != "training"]
    config, named = getattr(place, "config", None), (*_COUNTS, *(n for names in _SETTINGS.values() for n in names))
    return (*own, *((n, x) for n in named if isinstance(x := getattr(config, n, None), _PLAIN)))


# ---- adapters, as PEFT has them


def _is_tuner(module: Any) -> bool:
    return hasattr(type(module), "adapter_layer_names")


def _tuners(hf: Any) -> dict[str, Any]:
    return {name: module for name, module in hf.named_modules() if _is_tuner(module)}


def _own(tuner: Any, name: str) -> Any:
    """An attribute of the layer itself: some pass on to the module in them what they lack."""
    return vars(tuner).get(name) or {}


def at_work(tuner: Any) -> tuple[str, ...]:
    """Adapters whose weights the layer's forward adds: none while it is disabled or has some merged."""
    if tuner.disable_adapters or _own(tuner, "merged_adapters"):
        return ()
    held = {name for layer in tuner.adapter_layer_names for name in tuner._modules.get(layer, {})}
    return tuple(name for name in tuner.active_adapters if name in held)


def factor_of(tuner: Any, adapter: str) -> Any:
    """What the adapter's part is multiplied by, where its kind has such a number."""
    factors = _own(tuner, "scaling")
    return factors.get(adapter) if isinstance(factors, Mapping) else factors


def switch_of(tuner: Any) -> tuple[Any, ...]:
    """A layer's adapters: disabled or not, which are merged, which are at work, and with which factor."""
    working = tuple((name, factor_of(tuner, name)) for name in at_work(tuner))
    return (bool(tuner.disable_adapters), tuple(_own(tuner, "merged_adapters")), working)
