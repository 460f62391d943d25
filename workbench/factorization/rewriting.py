"""A dense model as a mixture of experts: `rewrite`.

Its neurons are dealt into groups; with every group on, a layer adds up what the dense MLP adds up.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from workbench.errors import WorkbenchError

from .groups import Groups, Router, check_groups, check_routers, deal
from .layers import layer_tensors, outside
from .sizes import GRAIN
from .targets import VOCABULARY, Fit, fit, fit_of, twin_config, twin_of, windows

MARK = "factorized_from"
"""The field of config.json that says what the experts are groups of."""
TOLERANCE = 1e-3


def rewrite(dense: Any, groups: Sequence[Groups], routers: Sequence[Router] | None, top_k: int) -> Any:
    """A transformers MoE model in eval mode on the CPU; what nothing is folded into shares the dense model's memory.

    dense    a transformers model with one text part, gated MLPs and RMSNorms
    groups   one for each layer
    routers  one for each layer; None: a router of zeros and every expert on, which is the same function
    top_k    routed experts of a token; with no routers it is the number of experts

    Raises `WorkbenchError` naming the module, tensor or config field that no MoE architecture holds, and where an architecture
    cannot have such routers.
    """
    found = checked_fit(dense, groups, routers)
    if routers is not None and not 1 <= top_k <= len(groups[0].routed):
        raise WorkbenchError(f"A token cannot get {top_k} of {len(groups[0].routed)} routed experts.")
    return _rewritten(dense, found, groups, routers, top_k)


def checked_fit(dense: Any, groups: Sequence[Groups], routers: Sequence[Router] | None) -> Fit:
    """How the model fits an architecture, seen on a small twin as well.

    Raises `WorkbenchError` where it does not, and where groups or routers are not those of this model.
    """
    config, found = dense.config, fit(dense)
    check_groups(groups, config.num_hidden_layers, config.intermediate_size)
    if routers is not None:
        check_routers(routers, groups, config.hidden_size)
        check_routable(found)
    experts, size = groups[0].routed.shape
    check_by_twin(config, found, experts, len(groups[0].shared) // size)
    return found


def check_routable(found: Fit) -> None:
    """Raises `WorkbenchError` where routers cannot mean what `Router` says."""
    if not found.architecture.sigmoid:
        raise WorkbenchError(
            f"Of transformers' MoE architectures only {found.architecture.name} holds this attention (sliding windows without "
            f"norms of queries and keys), and its softmax router holds no weights of 2 sigmoid(score); rewrite it with --exact."
        )


def moe_config(
    dense: Any, found: Fit, groups: Groups, top_k: int | None, source: str | None = None, *, dtype: torch.dtype
) -> Any:
    """The config of the MoE model; top_k None is every expert. source: the name in the mark, else the dense config's own."""
    from transformers import AutoConfig

    (experts, size), shared, to = groups.routed.shape, len(groups.shared), found.architecture
    sizes: dict[str, Any] = {"intermediate_size": groups.neurons, "moe_intermediate_size": size}
    if to.sigmoid:
        sizes |= {"n_routed_experts": experts, "n_shared_experts": shared // size}
    else:
        sizes |= {"num_experts": experts, "shared_expert_intermediate_size": shared}
    made = AutoConfig.for_model(
        to.name, **{**found.fields, **sizes}, num_experts_per_tok=experts if top_k is None else top_k, dtype=dtype
    )
    said = {"model": source or dense.config._name_or_path or type(dense).__name__}
    said |= {"experts": "groups of the neurons of a dense network", "groups": groups.neurons // size}
    setattr(made, MARK, {**said, "shared_groups": shared // size, "exact": top_k is None})
    return made


def _rewritten(dense: Any, found: Fit, groups: Sequence[Groups], routers: Sequence[Router] | None, top_k: int) -> Any:
    state = dense.state_dict()
    dtype = found.dtype(dense.dtype, len(groups[0].routed))
    made = outside(state, found, dtype)
    for layer, own in enumerate(groups):
        router = None if routers is None else routers[layer]
        made |= layer_tensors(state, layer, own, router, found, dtype)
    config = moe_config(dense, found, groups[0], None if routers is None else top_k, dtype=dtype)
    model = empty_model(config)
    model.load_state_dict(made, strict=not found.tied, assign=True)
    model.model.rotary_emb = type(model.model.rotary_emb)(config)  # its buffers are in no checkpoint
    model.tie_weights()
    if dense.generation_config is not None:
        model.generation_config = dense.generation_config
    return model.eval()


def empty_model(config: Any) -> Any:
    """The MoE model without memory behind its tensors."""
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config, dtype=config.dtype)


@torch.no_grad()
def check_by_twin(dense_config: Any, found: Fit, experts: int, shared: int) -> None:
    """Raises `WorkbenchError` unless a small random twin of the model, rewritten, computes what the twin computes.

    This is seen before any work, and whatever the names of modules and fields say.
    """
    neurons = GRAIN * (experts + shared)
    config = twin_config(dense_config, neurons)
    twin = twin_of(config, [f"self_attn.{p}_proj.bias" for p in found.attention.biases])
    groups = [deal(neurons, experts, shared, layer) for layer in range(config.num_hidden_layers)]
    small = fit_of(config, replace(found.attention, windows=windows(config)))
    made = _rewritten(twin, small, groups, None, experts)
    ids = torch.arange(24).reshape(2, 12) * 7 % VOCABULARY
    for first in (0, config.max_position_embeddings // 2):
        positions = torch.arange(first, first + 12)[None].expand(2, -1)
        off = (twin(ids, position_ids=positions).logits - made(ids, position_ids=positions).logits).abs().max()
        if not off <= TOLERANCE:
            raise WorkbenchError(
                f"A small random twin of this model ({type(config).__name__}), rewritten to {found.architecture.name}, differs "
                f"by {float(off):.3g} in its logits: it computes something that the names of its modules and fields do not say, "
                f"and it cannot be rewritten."
            )
