"""The runtime that fits a model as it is now: one made before, or a new look at a model that was changed since."""

import contextvars
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from workbench.anatomy import Anatomy
from workbench.model import (
    Layout,
    MoEAdapter,
    Runtime,
    Weights,
    active_adapters,
    as_it_runs,
    find_layout,
    identity,
    is_wrapped,
    read_weights,
    switches,
    unwrapped,
    weights_digest,
)
from workbench.survey.forward import Survey, survey
from workbench.survey.suitable import check_suitable

# both sides weak: a runtime holds its model, so a strong value would keep every model ever loaded in memory
_LOCK = threading.Lock()
_KNOWN: "weakref.WeakKeyDictionary[Any, weakref.WeakSet[Runtime]]" = weakref.WeakKeyDictionary()


def known_runtime(hf: Any, *, weights: bool = True, first: Runtime | None = None) -> Runtime | None:
    """A runtime of before that says what the model is now; `first` is preferred, then the latest."""
    wrapped, known = is_wrapped(hf), sorted(runtimes_of(hf), key=lambda r: (r is first, r.uid), reverse=True)
    set_so = [r for r in known if r.wrapped == wrapped and r.switches == switches(hf, r.layout)]
    sampled = read_weights(hf) if weights and set_so else None
    return next((r for r in set_so if sampled is None or _holds(r, sampled)), None)


def in_bridge(hf: Any) -> bool:
    """Whether the model was loaded through a bridge that still lives."""
    return any(r.bridges for r in runtimes_of(hf))


def new_runtime(hf: Any, name: str, revision: str | None, adapter: MoEAdapter | None) -> Runtime:
    """Looks at a model; what it finds is known from then on."""
    check_suitable(hf)
    with unwrapped(hf) as wrapper:
        layout = find_layout(hf, adapter)
        found = survey(hf, layout)
    before = {layer: wrapper.get(norm, norm) for layer, norm in found.before.items()}
    anatomy = anatomy_of(hf, layout, name, revision, found, read_weights(hf))
    layout = as_it_runs(layout, wrapper)
    runtime = Runtime(hf, layout, anatomy, before, found.multipliers, found.facts, wrapped=bool(wrapper))
    runtime.adapter, runtime.switches = adapter, switches(hf, layout)
    with _LOCK:
        _KNOWN.setdefault(hf, weakref.WeakSet()).add(runtime)
    return runtime


def anatomy_of(hf: Any, layout: Layout, name: str, revision: str | None, found: Survey, weights: Weights) -> Anatomy:
    """The MoE map from what the survey found, with what identifies the model."""
    config = hf.config.get_text_config()
    return Anatomy(
        model=name,
        family=config.model_type,
        hidden_size=config.hidden_size,
        vocab_size=config.vocab_size,
        weights=weights_digest(weights),
        layers=found.layers,
        revision=revision or getattr(hf.config, "_commit_hash", None),
        context_length=getattr(config, "max_position_embeddings", None),
        identity=identity(hf, layout, weights),
        adapters=active_adapters(hf),
        factorized_from=_dense(config),
    )


def _dense(config: Any) -> str | None:
    """The dense model that a rewritten one says it was made of."""
    said = getattr(config, "factorized_from", None)
    return str(said["model"]) if isinstance(said, dict) and "model" in said else None


def runtimes_of(hf: Any) -> list[Runtime]:
    """The runtimes of this model that are still in use."""
    with _LOCK:
        return list(_KNOWN.get(hf, ()))


def _holds(runtime: Runtime, weights: Weights) -> bool:
    """Whether these are the weights that the runtime was made with."""
    anatomy = runtime.anatomy
    here = (weights_digest(weights), identity(runtime.hf, runtime.layout, weights))
    return here == (anatomy.weights, anatomy.identity)


def looked_again(runtime: Runtime) -> Runtime:
    """A new runtime, or the old one where what was changed makes no difference to the MoE map."""
    hf, anatomy = runtime.hf, runtime.anatomy
    weights = read_weights(hf)
    if runtime.switches == switches(hf, runtime.layout) and not all(
        x.isfinite().all() for x in weights.values.values()
    ):
        return _with_weights(runtime, weights)
    with _evaluated(hf):
        # in a context of its own: what is in force here must not steer the look
        made = contextvars.Context().run(new_runtime, hf, anatomy.model, anatomy.revision, runtime.adapter)
    made.bridges.update(runtime.bridges)
    if made.anatomy != anatomy:
        return made
    runtime.switches = made.switches
    return runtime


def _with_weights(runtime: Runtime, weights: Weights) -> Runtime:
    """The same map for weights that are not finite: nothing can be measured on them, and what they break is to be counted."""
    digests = {"weights": weights_digest(weights), "identity": identity(runtime.hf, runtime.layout, weights)}
    parts = (runtime.before, runtime.multipliers, runtime.facts, runtime.wrapped)
    made = Runtime(runtime.hf, runtime.layout, replace(runtime.anatomy, **digests), *parts)
    made.adapter, made.switches, made.bridges = runtime.adapter, runtime.switches, runtime.bridges
    with _LOCK:
        _KNOWN.setdefault(runtime.hf, weakref.WeakSet()).add(made)
    return made


@contextmanager
def _evaluated(hf: Any) -> Iterator[None]:
    """In eval mode while open: between two steps of training a router may add noise."""
    training = [module for module in hf.modules() if module.training]
    hf.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
