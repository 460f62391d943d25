"""Tiny random models of real classes: `load("tiny/olmoe")`. For tests and for trying things offline; never a result.

Every family is built from its own transformers classes with a small config (`workbench.loading.tiny_configs`): random weights, a
correction bias that really decides (where the family has one), a dense first layer and groups (where it has them).
"""

from copy import deepcopy
from typing import Any

import torch

from workbench.errors import WorkbenchError, suggestion
from workbench.loading.tiny_configs import FAMILIES, LAYERS, PARTS, SIZES, TOKENS, VISION


def tiny_model(family: str, *, seed: int = 0, dtype: torch.dtype = torch.float32, **config: Any) -> Any:
    """A random transformers model of `family` with 2 or 3 MoE layers, 50 to 100 thousand parameters, in eval mode.

    family  a model type of transformers out of `FAMILIES`
    config  other values for fields of the config (of its text part, where it has parts)
    """
    from transformers import AutoConfig

    if family not in FAMILIES:
        raise WorkbenchError(
            f"There is no tiny model '{family}'{suggestion(family, list(FAMILIES)) or ','} out of {len(FAMILIES)} families; "
            f"`workbench models` lists them."
        )
    # a copy: transformers writes into nested settings
    settings = tiny_settings(AutoConfig.for_model(family), family, deepcopy(FAMILIES[family]) | config)
    settings.name_or_path = f"tiny/{family}"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _model_class(type(settings)).from_config(settings, dtype=dtype).eval()
        _keep_in_float32(model)
        _make_lively(model)
    return model


def _keep_in_float32(model: Any) -> None:
    """What `from_pretrained` leaves in float32 in a half-precision model; `from_config` does not."""
    kept = getattr(model, "_keep_in_fp32_modules_strict", None) or ()
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.is_floating_point() and any(part in name for part in kept):
            tensor.data = tensor.data.float()


def tiny_settings(default: Any, family: str, own: dict[str, Any]) -> Any:
    """The tiny config: `own` values, then sizes for every field that the family's `default` has; its parts too."""
    if "text_config" not in default.sub_configs:
        return type(default)(**_fields(default, SIZES, own))
    parts = {
        n: getattr(default, n, None) or default.sub_configs[n]() for n in default.sub_configs if n != "text_config"
    }
    changed = PARTS.get(family, {})
    made = {name: _fields(part, VISION, changed.get(name, {})) for name, part in parts.items()}
    text = _fields(default.sub_configs["text_config"](), SIZES, own)
    tokens = {k: v for k, v in TOKENS.items() if hasattr(default, k)}
    return type(default)(text_config=text, **made, **tokens, **changed.get("", {}), tie_word_embeddings=False)


def _fields(default: Any, sizes: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    known, names = default.to_dict(), getattr(default, "attribute_map", {})
    fields = {names.get(k, k): v for k, v in sizes.items() if names.get(k, k) in known}
    fields |= {names.get(k, k): v for k, v in own.items() if names.get(k, k) in known or k not in sizes}
    layers = fields.get("num_hidden_layers", LAYERS)
    for name in ("layer_types", "mlp_layer_types"):
        if isinstance(known.get(name), list) and name not in own:
            fields[name] = spread(known[name], layers)
    inner = {n: _fields(part(), sizes, {}) for n, part in default.sub_configs.items() if n not in own}
    return fields | inner


def spread(kinds: list[str], layers: int) -> list[str]:
    """Every kind in turn: dense, sparse, sparse for those two, so that most layers route."""
    kinds = list(dict.fromkeys(kinds))
    if set(kinds) <= {"dense", "sparse"}:
        return ["dense"] + ["sparse"] * (layers - 1)
    return [kinds[i % len(kinds)] for i in range(layers)]


def _model_class(config: type) -> Any:
    """The Auto class that builds a model of this config with a head; a family that sees images gets its whole model."""
    import transformers as tf

    classes = (tf.AutoModelForImageTextToText, tf.AutoModelForCausalLM, tf.AutoModelForSeq2SeqLM)
    return next(c for c in classes if config in c._model_mapping)  # pyright: ignore[reportPrivateUsage]


@torch.no_grad()
def _make_lively(model: Any) -> None:
    """Random weights wide enough that routing varies between tokens, experts matter, and correction biases decide."""
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if not tensor.is_floating_point():
            if name.endswith(
                "tid2eid"
            ):  # a hash router's table, token id to experts: zeros until a checkpoint fills it
                n = model.config.get_text_config().num_local_experts
                tensor.copy_(torch.rand(tensor.shape[0], n).argsort(-1)[:, : tensor.shape[1]])
        elif "correction_bias" in name:
            tensor.copy_(0.3 * torch.randn(tensor.shape))
        elif name.endswith("per_expert_scale"):
            tensor.copy_(0.5 + torch.rand(tensor.shape))
        elif name.endswith("expert_bias") or name.endswith("balancing_biases"):
            tensor.copy_(0.2 * torch.randn(tensor.shape))
        elif name.endswith("sinks") or (tensor.ndim == 1 and name.endswith("bias")):
            tensor.copy_(0.1 * torch.randn(tensor.shape))
        elif tensor.ndim >= 2 and "rotary" not in name:
            tensor.copy_(torch.randn(tensor.shape) * (1.0 if "embed" in name else 2.0 * tensor.shape[-1] ** -0.5))


def tiny_tokenizer() -> Any:
    """A byte tokenizer with a chat template: nothing is downloaded, every text is representable."""
    from transformers import ByT5Tokenizer

    tokenizer = ByT5Tokenizer(extra_ids=125)
    tokenizer.chat_template = (
        "{% if tools %}[tools] {{ tools | tojson }}\n{% endif %}"
        "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] if m['content'] is not none }}"
        "{% for c in m['tool_calls'] or [] %}"
        "<tool_call>{{ c['function'] | tojson }}</tool_call>{% endfor %}{{ '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}[assistant] {% endif %}"
    )
    return tokenizer
