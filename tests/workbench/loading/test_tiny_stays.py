"""The tiny models stay the models they are: numbers in the docs and stores that people keep were made with them.

tests/fixtures/tiny_configs.json says every value once more, spelt out; who changes a tiny model changes it there as well.
"""

import json
from pathlib import Path

import pytest
from transformers import AutoConfig

from workbench import load
from workbench.loading import tiny_configs as tinyconfigs
from workbench.loading.tiny import tiny_settings

WRITTEN = json.loads((Path(__file__).parents[2] / "fixtures/tiny_configs.json").read_text(encoding="utf-8"))


def test_every_value_is_as_it_was_written_down() -> None:
    assert (
        WRITTEN["layers"],
        WRITTEN["tokens"]["image_token_id"],
        WRITTEN["tokens"],
    ) == (tinyconfigs.LAYERS, tinyconfigs.IMAGE_TOKEN, tinyconfigs.TOKENS)
    for name in ("SIZES", "VISION", "FAMILIES", "PARTS"):
        found = getattr(tinyconfigs, name)
        assert list(found) == list(WRITTEN[name.lower()])
        for key, value in WRITTEN[name.lower()].items():
            assert found[key] == value, (name, key)
            assert type(found[key]) is type(value), (name, key)


@pytest.mark.parametrize(
    ("family", "says"),
    [
        ("mixtral", {"num_local_experts": 8, "num_experts_per_tok": 3, "hidden_size": 32, "intermediate_size": 24}),
        ("deepseek_v3", {"n_routed_experts": 16, "n_group": 4, "topk_group": 2, "first_k_dense_replace": 1}),
        ("jamba", {"num_hidden_layers": 4, "num_experts": 12, "attn_layer_period": 2, "intermediate_size": 16}),
        ("glm4_moe", {"routed_scaling_factor": 1.0, "moe_intermediate_size": 24, "vocab_size": 384}),
    ],
)
def test_a_config_takes_the_family_before_the_sizes(family: str, says: dict[str, object]) -> None:
    config = tiny_settings(AutoConfig.for_model(family), family, tinyconfigs.FAMILIES[family])
    assert {name: getattr(config, name) for name in says} == says
    wider = tiny_settings(AutoConfig.for_model(family), family, tinyconfigs.FAMILIES[family] | {"hidden_size": 64})
    assert wider.hidden_size == 64


def test_kinds_of_layers_take_turns() -> None:
    from workbench.loading.tiny import spread

    assert spread(["dense", "dense", "sparse", "sparse"], 4) == ["dense", "sparse", "sparse", "sparse"]
    assert spread(["sparse"] * 9, 2) == ["dense", "sparse"]
    assert spread(["linear", "linear", "full"], 5) == ["linear", "full", "linear", "full", "linear"]


def test_experts_of_a_tiny_gemma_are_scaled_each_by_a_number_of_its_own() -> None:
    """As a checkpoint would: 0.5 to 1.5; of ones a scale could be forgotten unseen."""
    scales = [p for name, p in load("tiny/gemma4_text").hf.named_parameters() if name.endswith("per_expert_scale")]
    assert scales
    for scale in scales:
        assert len(scale.unique()) == len(scale)
        assert 0.5 <= float(scale.min()) < 0.9 < 1.1 < float(scale.max()) <= 1.5
