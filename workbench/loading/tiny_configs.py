"""What the tiny models' configs say: sizes by the name of the field, and for each family what is its own.

A field that a family's config does not have is left out, so most families need no line but their name. Lists with an entry
per layer become short ones that still hold every kind of layer.
"""

from typing import Any

LAYERS = 3

# sizes and counts by the name of a config field, for text and vision configs alike
SIZES: dict[str, Any] = {
    "vocab_size": 384,
    "hidden_size": 32,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "intermediate_size": 48,
    "moe_intermediate_size": 16,
    "dense_intermediate_size": 48,
    "prefix_dense_intermediate_size": 48,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": 1,
    "tie_word_embeddings": False,
    # how many experts, how many of them a token gets, shared ones
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 12),
    **dict.fromkeys(("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k", "top_k_experts"), 3),
    **dict.fromkeys(("n_shared_experts", "num_shared_experts", "moe_num_shared_experts"), 1),
    **dict.fromkeys(
        ("shared_expert_intermediate_size", "shared_intermediate_size", "moe_shared_expert_intermediate_size"), 24
    ),
    **dict.fromkeys(("shared_experts_intermediate_size", "share_expert_dim"), 24),
    **dict.fromkeys(("n_group", "num_expert_group"), 3),
    "topk_group": 2,
    "routed_scaling_factor": 2.5,
    "router_jitter_noise": 0.0,
    "first_k_dense_replace": 1,
    "num_dense_layers": 1,
    "mlp_only_layers": [0],
    "num_nextn_predict_layers": 0,
    # attention in its many forms
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank"), 16),
    **dict.fromkeys(("qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim", "index_head_dim", "index_topk"), 8),
    "index_n_heads": 2,
    **dict.fromkeys(("sliding_window", "sliding_window_size"), 8),
    **dict.fromkeys(("linear_num_heads", "linear_num_key_heads"), 2),
    "linear_num_value_heads": 4,
    **dict.fromkeys(("linear_head_dim", "linear_key_head_dim", "linear_value_head_dim"), 8),
    "linear_conv_kernel_dim": 4,
    **dict.fromkeys(("swa_num_attention_heads", "mamba_n_heads", "mamba_num_heads", "mamba_dt_rank", "d_rel"), 4),
    **dict.fromkeys(("mamba_d_state", "mamba_head_dim", "ssm_state_size", "swa_head_dim"), 8),
    **dict.fromkeys(("mamba_d_head", "mamba_chunk_size", "chunk_size"), 16),
    **dict.fromkeys(("n_groups", "swa_num_key_value_heads", "hc_mult", "hc_count"), 2),
    "hc_lowrank": 8,
    "rel_extent": 32,
    "unpadded_vocab_size": 384,
    "use_mamba_kernels": False,
    "per_layer_config": None,
}
VISION: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "depth": 2,
    **dict.fromkeys(("num_attention_heads", "num_heads", "num_key_value_heads"), 4),
    "head_dim": 8,
    "intermediate_size": 48,
    "image_size": 32,
    "patch_size": 8,
    "num_position_embeddings": 16,
    "deepstack_visual_indexes": [0],
    **dict.fromkeys(("out_hidden_size", "text_hidden_size", "projection_dim", "output_dim"), 32),
    **dict.fromkeys(("adapter_in_dim", "adapter_out_dim", "adapter_input_size", "projection_hidden_dim"), 32),
    **dict.fromkeys(("d_model", "encoder_ffn_dim", "downsample_hidden_size", "projector_hidden_size", "mlp_dim"), 32),
    **dict.fromkeys(("projector_input_dim", "projector_output_dim", "vision_output_dim", "output_channels"), 32),
    **dict.fromkeys(("n_layers", "encoder_layers"), 2),
    "encoder_attention_heads": 4,
    **dict.fromkeys(("moe_intermediate_size", "vocab_size", "position_embedding_size", "max_position_embeddings"), 16),
    **dict.fromkeys(("n_mel_bins", "num_mel_bins", "mel_vocab_size", "feature_size"), 16),
    "per_layer_config": None,
}
IMAGE_TOKEN = 383  # the last id: no byte of the tiny tokenizer
TOKENS = {"image_token_id": IMAGE_TOKEN, "image_token_index": IMAGE_TOKEN, "video_token_id": 382}

_16 = dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 16)
_SIXTEEN: dict[str, Any] = _16 | {"moe_intermediate_size": 24}
_MLA: dict[str, Any] = {"num_key_value_heads": 4}  # multi-head latent attention has no groups of queries
_NARROW: dict[str, Any] = {"intermediate_size": 16}  # families that give it to their experts
_WIDER: dict[str, Any] = {"intermediate_size": 24, "sliding_window": None}
_DEEPSEEK = _SIXTEEN | _MLA | {"q_lora_rank": None, "n_group": 4}
_INKLING: dict[str, Any] = {"d_rel": 4, "rel_extent": 32}
_MROPE: dict[str, Any] = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]}
_LINEAR_FULL = ["linear_attention", "full_attention", "linear_attention"]

# families by transformers' model type: what their config says beyond the sizes above
FAMILIES: dict[str, dict[str, Any]] = {
    "mixtral": _WIDER | {"num_local_experts": 8, "head_dim": None},
    "olmoe": _WIDER | _16,
    "qwen2_moe": _SIXTEEN | {"shared_expert_intermediate_size": 40, "mlp_only_layers": [], "sliding_window": 0},
    "qwen3_moe": _SIXTEEN | {"norm_topk_prob": True, "sliding_window": None},
    "gpt_oss": _WIDER | {"num_local_experts": 8, "sliding_window": 128, "layer_types": ["full_attention"] * LAYERS},
    "deepseek_v2": _DEEPSEEK | {"topk_method": "group_limited_greedy", "routed_scaling_factor": 2.0},
    "deepseek_v3": _DEEPSEEK | {"norm_topk_prob": True},
    "granitemoe": _WIDER | {"num_local_experts": 8},
    "glm4_moe": _SIXTEEN | {"n_group": 4, "routed_scaling_factor": 1.0},
    "ernie4_5_moe": _SIXTEEN | {"moe_layer_start_index": 1, "moe_layer_interval": 1, "moe_layer_end_index": 2},
    "minimax_m2": _WIDER | _16,
    "afmoe": {},
    "aria_text": _NARROW,
    "axk1": _MLA,
    "axk2": _MLA,
    "bailing_hybrid": _MLA,
    "beam": {},
    "cohere2_moe": _NARROW,
    "dbrx": {
        "n_layers": 2,
        "attn_config": {"kv_n_heads": 2, "rope_theta": 10000.0, "clip_qkv": 8.0},
        "ffn_config": {"ffn_hidden_size": 16, "moe_num_experts": 12, "moe_top_k": 3},
    },
    "deepseek_v32": _MLA,
    "deepseek_v4": {
        "head_dim": 16,
        "o_groups": 2,
        "o_lora_rank": 8,
        "num_key_value_heads": 1,
        "mlp_layer_types": ["hash_moe", "moe", "moe"],
        "compress_rates": {"compressed_sparse_attention": 4, "heavily_compressed_attention": 8},
    },
    "doge": {"is_moe": True, "num_experts": 16},
    "dots1": {},
    "dots3_note_text": _MLA | {"head_dim": 16},
    "exaone_moe": {},
    "flex_olmo": _NARROW,
    "flint": {},
    "gemma4_text": {
        "vocab_size_per_layer_input": 384,
        "hidden_size_per_layer_input": 8,
        "enable_moe_block": True,
        "per_layer_config": {},
    },
    "glm4_moe_lite": _MLA,
    "glm_moe_dsa": _MLA,
    "granitemoe_swa": _NARROW,
    "granitemoehybrid": _NARROW | {"layer_types": _LINEAR_FULL},
    "granitemoeshared": _NARROW,
    "hunyuan_v1_moe": _NARROW,
    "hy_v3": {},
    "hy_v4": _MLA,
    "inkling2_text": _INKLING,
    "inkling_text": _INKLING,
    "jamba": _NARROW | {"num_hidden_layers": 4, "attn_layer_period": 2, "attn_layer_offset": 1},
    "jetmoe": _NARROW | {"kv_channels": 8, "num_attention_heads": 6},
    "kimi_linear": _MLA,
    "kolibri1": {},
    "laguna": {},
    "lfm2_moe": {"layer_types": ["conv", "full_attention", "conv"]},
    "llama4_text": _NARROW
    | {"num_hidden_layers": 4, "intermediate_size_mlp": 48, "num_experts_per_tok": 1, "interleave_moe_layer_step": 2},
    "longcat_flash": _MLA
    | {"num_layers": 2, "ffn_hidden_size": 48, "expert_ffn_hidden_size": 16, "zero_expert_num": 4},
    "mellum": {},
    "mimo_v2_flash": {},
    "minimax": _NARROW,
    "minimax_m3_vl_text": _NARROW,
    "mistral4": _MLA | {"head_dim": 16},
    "nemotron_h": {"layers_block_type": ["linear_attention", "moe", "full_attention", "moe", "mlp"]},
    "phimoe": _NARROW | {"num_experts_per_tok": 2, "router_jitter_noise": 0.2},
    "qwen3_5_moe_text": {},
    "qwen3_next": {},
    "qwen4_exp_text": {
        **{"indexer_n_heads": 2, "indexer_kv_heads": 1, "indexer_head_dim": 8, "indexer_budget": 8},
        "indexer_compress_ratio": 4,
        "layer_types": ["linear_attention", "indexed_attention", "linear_attention"],
    },
    "solar_open": {},
    "zaya": {"num_experts_per_tok": 1, "router_hidden_size": 16},
}
# vision-language families: what their text part says (their other parts get `VISION` sizes and `PARTS`)
FAMILIES |= {
    "aria": FAMILIES["aria_text"],
    "deepseek_ocr2": {"mlp_layer_types": ["dense", "sparse", "sparse"], "num_key_value_heads": 4},
    "dots3_note": FAMILIES["dots3_note_text"],
    "ernie4_5_vl_moe": {"moe_intermediate_size": [16, 16], "rope_parameters": _MROPE | {"mrope_section": [1, 1, 2]}},
    "gemma4": FAMILIES["gemma4_text"],
    "glm4v_moe": {"rope_parameters": _MROPE | {"partial_rotary_factor": 1.0}},
    "glm5_next": _MLA | {"index_kpool": 4, "qk_rope_head_dim": 0, "head_dim": 0},
    "inkling2": FAMILIES["inkling2_text"],
    "inkling_mm_model": FAMILIES["inkling_text"],
    "llama4": FAMILIES["llama4_text"],
    "minimax_m3_vl": FAMILIES["minimax_m3_vl_text"],
    "mistral_large4": _MLA,
    "muse_spark": {"moe_hidden_size": 16},
    "qwen3_5_moe": {"rope_parameters": _MROPE},
    "qwen3_omni_moe_thinker": {"rope_parameters": _MROPE},
    "qwen3_vl_moe": {"rope_parameters": _MROPE},
    "qwen4_exp": FAMILIES["qwen4_exp_text"],
    "step3p7": {},
    "unlimited_ocr": {},
}
# encoder-decoders
FAMILIES |= {
    "nllb-moe": {
        "d_model": 32,
        **dict.fromkeys(("encoder_layers", "decoder_layers", "encoder_sparse_step", "decoder_sparse_step"), 2),
        **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), 16),
        **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4),
        "decoder_start_token_id": 2,
    },
    "switch_transformers": {
        **{"d_model": 32, "d_kv": 8, "d_ff": 16, "num_heads": 4, "decoder_start_token_id": 2},
        **dict.fromkeys(("num_layers", "num_decoder_layers", "encoder_sparse_step", "decoder_sparse_step"), 2),
        **dict.fromkeys(("num_sparse_encoder_layers", "num_sparse_decoder_layers"), 1),
    },
}
_SAM: dict[str, Any] = {
    **dict.fromkeys(("hidden_size", "mlp_dim", "output_channels"), 32),
    **{
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": 64,
        "patch_size": 16,
        "global_attn_indexes": [1],
    },
    "downsample_channels": [32, 32],
}
# other parts of vision-language families, by the name of the part; "" is the config that holds them
PARTS: dict[str, dict[str, dict[str, Any]]] = {
    "glm5_next": {"vision_config": {"projection_intermediate_size": 32}},
    "minimax_m3_vl": {"": {"projector_hidden_size": 32, "merged_hidden_size": 128}},
    "muse_spark": {
        "audio_config": {"num_hidden_layers": 4, "hidden_sizes": [8, 8, 8, 8]},
        "": {"out_hidden_size": 128, "projector_hidden_size": 32},
    },
    "qwen3_omni_moe_thinker": {"": {"vision_start_token_id": 381}},
    "unlimited_ocr": {"vision_config": {"sam_config": _SAM}},
    "deepseek_ocr2": {"vision_config": {"sam_config": _SAM}},
}
