"""The MoE architectures of transformers that hold a dense Llama-like model exactly, and which of them holds this one.

All of them add what routed experts give, each times its weight, to what a shared expert gives. With a router of zeros

glm4_moe    sigmoid(0) = 1/2, times routed_scaling_factor 2, is a weight of 1 whatever top-k is; q, k, v biases, q/k norms
dots1       the same router; q/k norms always, a bias on all of q, k, v, o, sliding windows by layer
qwen2_moe   softmax over E experts is 1/E, so down_proj is multiplied by E; the shared expert's gate is sigmoid(0) = 1/2, so its
            down_proj is doubled; q, k, v biases, sliding windows by layer
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from workbench.errors import WorkbenchError

from .modules import Attention


@dataclass(frozen=True)
class Architecture:
    """One of them: which attention it holds, what its config says besides, and where a layer's tensors lie.

    shared         the shared expert's name in `mlp`
    bias           whether selection has a correction bias of its own
    shared_gate    whether a gate multiplies the shared expert's output
    sigmoid        whether a routing weight is 2 sigmoid(score), so that a `Router` means the same in it
    """

    name: str
    holds: Callable[[Attention], bool]
    settings: Callable[[Attention], dict[str, Any]]
    shared: str = "shared_experts"
    bias: bool = True
    shared_gate: bool = False
    sigmoid: bool = True

    def routed_scale(self, experts: int) -> float:
        """What down_proj of a routed expert is multiplied by, so that its weight under a router of zeros is undone."""
        return 1.0 if self.sigmoid else float(experts)

    @property
    def shared_scale(self) -> float:
        """The same of the shared expert."""
        return 2.0 if self.shared_gate else 1.0

    def biases(self, wanted: Attention) -> tuple[str, ...]:
        """Which of q, k, v, o have a bias in it when the model needs any."""
        return () if not wanted.biases else ("q", "k", "v", "o") if self.name == "dots1" else ("q", "k", "v")


def _sliding(wanted: Attention) -> bool:
    return any(width is not None for width in wanted.windows)


def _window_settings(wanted: Attention) -> dict[str, Any]:
    widths = {width for width in wanted.windows if width is not None}
    kinds = ["full_attention" if width is None else "sliding_attention" for width in wanted.windows]
    return {"sliding_window": max(widths, default=None), "layer_types": kinds}


_SIGMOID = {"n_group": 1, "topk_group": 1, "norm_topk_prob": False, "routed_scaling_factor": 2.0}

ARCHITECTURES = (
    Architecture(
        "glm4_moe",
        holds=lambda x: not _sliding(x) and "o" not in x.biases,
        settings=lambda x: {
            **_SIGMOID,
            "first_k_dense_replace": 0,
            "use_qk_norm": x.normed,
            "attention_bias": bool(x.biases),
            "num_nextn_predict_layers": 0,
        },
    ),
    Architecture(
        "dots1",
        holds=lambda x: x.normed and x.partial == 1,
        settings=lambda x: {
            **_SIGMOID,
            "first_k_dense_replace": 0,
            "attention_bias": bool(x.biases),
            **_window_settings(x),
        },
    ),
    Architecture(
        "qwen2_moe",
        holds=lambda x: not x.normed and "o" not in x.biases and x.partial == 1,
        settings=lambda x: {
            "norm_topk_prob": False,
            "decoder_sparse_step": 1,
            "mlp_only_layers": [],
            "qkv_bias": bool(x.biases),
            "use_sliding_window": _sliding(x),
            **_window_settings(x),
        },
        shared="shared_expert",
        bias=False,
        shared_gate=True,
        sigmoid=False,
    ),
)


def architecture_for(wanted: Attention, family: str) -> Architecture:
    """The first that holds it.

    Raises `WorkbenchError` where none does, with what of the attention no architecture has together.
    """
    found = next((x for x in ARCHITECTURES if x.holds(wanted)), None)
    if found is not None:
        return found
    parts = [f"a bias on {', '.join(sorted(wanted.biases))}_proj"] if wanted.biases else []
    parts += ["a sliding window"] if _sliding(wanted) else []
    parts += ["norms of queries and keys"] if wanted.normed else []
    parts += [f"{wanted.partial:g} of a head rotated"] if wanted.partial != 1 else []
    raise WorkbenchError(
        f"model.layers.*.self_attn of a {family} has {' and '.join(parts)}, which no MoE architecture of transformers holds "
        f"together; this model cannot be rewritten."
    )
