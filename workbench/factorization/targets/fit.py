"""How a dense model fits into an MoE architecture: which one, and what of the model has to be folded into weights.

Found from config, tensors and a small twin, never from the family's name.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch

from workbench.errors import WorkbenchError, listed

from .architectures import Architecture, architecture_for
from .fields import carried, lost, noted
from .modules import Attention, attention, biased, empty, missing, shapes, strange
from .twin import embedding_scale, offsets, twin_config, twin_of

_FLOATS = (torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Fit:
    """How one dense model becomes an MoE one.

    fields    of the MoE config, those about experts left out
    offsets   by the end of a norm's name, what is added to its weight
    embedded  what the embedding is multiplied by; other than 1 it is no longer tied to the head
    """

    architecture: Architecture
    attention: Attention
    fields: dict[str, Any]
    offsets: dict[str, float]
    embedded: float

    @property
    def tied(self) -> bool:
        """Whether the head is the embedding."""
        return self.fields["tie_word_embeddings"]

    def dtype(self, dense: torch.dtype, experts: int) -> torch.dtype:
        """What the weights are kept in: the dense model's dtype, or float32 where something is folded in that it cannot hold."""
        scale = math.log2(self.architecture.routed_scale(experts))
        exact = self.embedded == 1 and not any(self.offsets.values()) and scale == round(scale)
        return dense if exact and dense in _FLOATS else torch.float32


def check_config(config: Any) -> None:
    """Raises `WorkbenchError` naming every module and config field of such a model that no architecture here holds."""
    family = type(config).__name__
    quantised = getattr(config, "quantization_config", None)
    if quantised is not None and _method(quantised) != "gguf":
        raise WorkbenchError(
            f"The weights of this {family} are quantised by {_method(quantised)}; take the checkpoint that is not quantised."
        )
    if not hasattr(config, "intermediate_size") or not hasattr(config, "rms_norm_eps"):
        raise WorkbenchError(
            f"A {family} says nothing of an intermediate_size and rms_norm_eps; what can be rewritten is a dense model of one "
            f"text part with gated MLPs and RMSNorms."
        )
    if getattr(config, "rope_parameters", None) is None:
        raise WorkbenchError(f"A {family} has no rope_parameters, and every architecture here has rotary positions.")
    found = shapes(empty(config))
    parts = [f"the module {name}" for name in strange(found, carried(config)["head_dim"])]
    parts += [f"no {name.removesuffix('.weight')}" for name in missing(found, config.num_hidden_layers)]
    if not parts:
        with noted(small := twin_config(config, 8)) as read:
            twin = twin_of(small, ())
            twin(torch.arange(2 * len(small.to_dict().get("layer_types") or "two"))[None])
        parts = [f"{name}={value!r:.60}" for name, value in lost(config, read).items()]
    else:
        parts += [
            f"{name}={value!r:.60}" for name, value in lost(config, {n for n in config.to_dict() if "cap" in n}).items()
        ]
    if parts:
        raise WorkbenchError(
            f"This {family} has {listed(parts)}, which no MoE architecture of transformers holds; it cannot be rewritten."
        )


def fit(dense: Any) -> Fit:
    """How this transformers model fits.

    Raises `WorkbenchError` naming what does not.
    """
    check_config(dense.config)
    config, state = dense.config, dense.state_dict()
    wanted = attention(config, shapes(dense), biased(state))
    return fit_of(config, wanted)


def fit_of(config: Any, wanted: Attention) -> Fit:
    """How a model of this config with such an attention fits."""
    architecture = architecture_for(wanted, type(config).__name__)
    twin = twin_of(twin_config(config, 8), ())
    fields = {**carried(config), **architecture.settings(wanted)}
    rope = fields["rope_parameters"]
    if architecture.name == "glm4_moe":
        rope.setdefault("partial_rotary_factor", 1.0)
    scale = embedding_scale(twin)
    fields["tie_word_embeddings"] = bool(config.tie_word_embeddings) and scale == 1
    return Fit(architecture, wanted, fields, offsets(twin), scale)


def _method(quantised: Any) -> str:
    said = quantised.get("quant_method") if isinstance(quantised, dict) else getattr(quantised, "quant_method", None)
    return str(getattr(said, "value", said))
