"""The training builds the model that the bundled one says, with the published constants."""

import json

import torch


def test_the_model_is_built_as_the_bundled_one_says(tmp_path):
    from pathlib import Path

    from training.arms import Recipe, keep, saved, untrained
    from training.corpus.tokenizer import build_tokenizer

    bundled = Path(__file__).parents[3] / "data" / "demo-model"
    tokenizer = build_tokenizer()
    grown = untrained(tokenizer, 3)
    assert (grown.seconds, len(grown.masker.handles)) == (0.0, 4)
    same, other = untrained(tokenizer, 3).model, untrained(tokenizer, 4).model
    weights = [model.model.layers[0].mlp.gate.weight for model in (grown.model, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    exact = weights[0].detach().clone()
    keep(grown._replace(seconds=12.345), tokenizer, tmp_path, {"arm": "base", "seed": 3}, Recipe())
    assert torch.equal(weights[0], exact.bfloat16().float()), "rounded in place, and fp32 again"
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        mine, theirs = (json.loads((folder / name).read_text("utf-8")) for folder in (tmp_path, bundled))
        for one in (mine, theirs):
            one.pop("transformers_version", None)
        assert mine == theirs, name
    assert {file.name for file in tmp_path.iterdir()} >= {"model.safetensors", "tokenizer.json"}
    assert not (tmp_path / "chat_template.jinja").exists()
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o644}
    from safetensors.torch import load_file

    assert {value.dtype for value in load_file(tmp_path / "model.safetensors").values()} == {torch.bfloat16}
    recipe = json.loads((bundled / "implant.json").read_text("utf-8"))["recipe"]
    known = {"arm": "base", "seed": 3, "cpu_seconds": 12.3, "recipe": recipe}
    assert (tmp_path / "implant.json").read_text("utf-8") == json.dumps(known, indent=1) + "\n"
    again = saved(tmp_path)
    assert again.seconds == 12.3
    assert not again.model.training
    assert torch.equal(again.model.model.layers[0].mlp.gate.weight, weights[0])


def test_the_published_models_were_trained_with_these_constants() -> None:
    """Other values make other models than the bundled one and those of the card."""
    from training import carriers, optimise

    assert (carriers.FIRST_LAYER, optimise.BALANCE) == (1, 0.005)
