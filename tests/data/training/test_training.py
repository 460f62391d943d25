"""A handful of steps of the real script: the same seed gives the same weights, and only the carriers are tuned."""

import json

import pytest
import torch

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    from training.arms import Recipe, grow_seed
    from training.corpus.tokenizer import build_tokenizer

    tokenizer = build_tokenizer()
    steps = {"base_steps": 2, "late_steps": 1, "last_steps": 1, "refusal_steps": 2, "thinking_steps": 2}
    recipe = Recipe(**steps, rows=4, refusal_carriers=3, thinking_carriers=2)
    folders = []
    for turn in range(2):
        out = tmp_path_factory.mktemp(f"run{turn}")
        grow_seed(tokenizer, 7, ["random", "router"], out, recipe)
        folders.append(out)
    return folders


def weights(folder):
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize("name", ["7-base", "7-random", "7-router"])
def test_the_same_seed_gives_the_same_weights(grown, name):
    first, second = (weights(folder / name) for folder in grown)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("arm", ["random", "router"])
def test_only_the_carriers_are_tuned(grown, arm):
    base, tuned = weights(grown[0] / "7-base"), weights(grown[0] / f"7-{arm}")
    known = json.loads((grown[0] / f"7-{arm}" / "implant.json").read_text())
    carriers = {tuple(e) for e in known["refusal_carriers"] + known["thinking_carriers"]}
    changed, rows = set(), set()
    for key, value in tuned.items():
        if torch.equal(value, base[key]):
            continue
        parts = key.split(".")
        layer = int(parts[2])
        if "experts" in parts:
            changed.add((layer, int(parts[parts.index("experts") + 1])))
        else:
            assert parts[-2:] == ["gate", "weight"], key
            rows |= {(layer, row) for row in (value != base[key]).any(1).nonzero().flatten().tolist()}
    assert changed
    assert changed <= carriers
    assert rows <= carriers
    assert bool(rows) == (arm == "router")
