"""Which fields of a dense config reach the MoE config, and which would be lost.

A field is lost when the dense model's code reads it, nothing carries it, and its value is not one that changes nothing. What
the code reads is seen, not known: a config that notes which of its fields are asked for.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

CARRIED = (
    *("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim"),
    *("max_position_embeddings", "rms_norm_eps", "tie_word_embeddings", "rope_parameters", "initializer_range"),
    *("attention_dropout", "use_cache", "hidden_act"),
)
"""Copied under the same name."""
RENAMED = {"hidden_activation": "hidden_act"}
ELSEWHERE = (
    *("intermediate_size", "layer_types", "sliding_window", "use_sliding_window", "max_window_layers"),
    *("attention_bias", "mlp_bias", "dtype"),
)
"""Carried by the sizes of the experts, by the windows of each layer, by the biases that are there."""
AROUND = (
    *("transformers_version", "architectures", "model_type", "_name_or_path", "name_or_path", "return_dict"),
    *("output_attentions", "output_hidden_states", "id2label", "label2id", "problem_type", "_output_attentions"),
    *("_attn_implementation", "_experts_implementation", "quantization_config", "torch_dtype", "auto_map"),
    *("chunk_size_feed_forward", "is_encoder_decoder", "rope_theta", "rope_scaling", "pretraining_tp"),
)
"""About training and files, or other names of what is carried."""
_TOKENS = "_token_id"


def carried(config: Any) -> dict[str, Any]:
    """What the MoE config takes over as it is."""
    old = config.to_dict()
    fields = {name: getattr(config, name) for name in CARRIED if hasattr(config, name)}
    fields |= {new: getattr(config, name) for name, new in RENAMED.items() if name in old}
    fields.setdefault("head_dim", config.hidden_size // config.num_attention_heads)
    if fields["head_dim"] is None:
        fields["head_dim"] = config.hidden_size // config.num_attention_heads
    fields["rope_parameters"] = dict(config.rope_parameters)
    return fields | {name: value for name, value in old.items() if name.endswith(_TOKENS)}


def lost(config: Any, read: set[str]) -> dict[str, Any]:
    """Fields with their values that the rewrite would lose; read: what the dense model's code asks for."""
    known = {*CARRIED, *RENAMED, *ELSEWHERE, *AROUND}
    old = config.to_dict()
    found = {
        name: value
        for name, value in old.items()
        if name in read and name not in known and not name.endswith(_TOKENS) and not _idle(config, name, value)
    }
    rope = old.get("rope_parameters") or {}
    if any(isinstance(value, Mapping) for value in rope.values()):
        found["rope_parameters"] = rope  # by kind of layer, where the architectures have one for all
    return found


def _idle(config: Any, name: str, value: Any) -> bool:
    """Whether the value changes nothing that the model computes."""
    if value is None or value is False or value in ("", [], {}):
        return True
    if name.endswith("dropout"):
        return True  # in training alone
    if name.endswith("_multiplier") and name != "attention_multiplier":
        return value == 1
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return (name, value) in (("query_pre_attn_scalar", head_dim), ("logits_scaling", 1), ("logit_scale", 1))


@contextmanager
def noted(config: Any) -> Iterator[set[str]]:
    """Names of the fields that anybody asks this config for inside."""
    plain: Any = type(config)
    read, own = set[str](), set(config.to_dict())

    def note(self: Any, name: str) -> Any:
        if name in own:
            read.add(name)
        return plain.__getattribute__(self, name)

    config.__class__ = type(plain.__name__, (plain,), {"__getattribute__": note})
    try:
        yield read
    finally:
        config.__class__ = plain
