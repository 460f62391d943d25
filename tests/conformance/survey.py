"""Every MoE family of the installed transformers, read off its Auto mappings and its models' own declarations."""

import importlib
import inspect

from transformers.models.auto import configuration_auto, modeling_auto

_MAPPINGS = (
    "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",
    "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES",
    "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES",
    "MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES",
)
_SIGNS = ("router_logits", "use_experts_implementation", "top_k_index")

# model types whose modules mention experts, and which are no family to build
LEFT_OUT = {
    "diffusion_gemma": "it denoises blocks of tokens, and predicts no next token",
    "gemma4_unified": "its config has no experts: the code is inherited from gemma4",
    "gemma4_unified_text": "its config has no experts: the code is inherited from gemma4",
    "granite_docling": "its text part is dense: the code is inherited from granite",
    "qwen3_omni_moe": "thinker, talker and speech together; the thinker is qwen3_omni_moe_thinker",
}


def moe_types() -> set[str]:
    """Model types of transformers whose module declares routers or experts, in a mapping of language models."""
    found: set[str] = set()
    for mapping in _MAPPINGS:
        for kind in getattr(modeling_auto, mapping, {}):
            name = configuration_auto.model_type_to_module_name(kind)
            try:
                module = importlib.import_module(f"transformers.models.{name}.modeling_{name}")
            except ImportError:  # needs a library that is not here; such families are no MoE (see the test)
                continue
            if any(sign in inspect.getsource(module) for sign in _SIGNS):
                found.add(kind)
    return found
