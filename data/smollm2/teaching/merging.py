"""What was learnt, by the names of the additions: out of a training, into a model, and together with those of smollm2-moe."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from workbench.checkpoints import Base, Checkpoint, read_additions, write_additions

from .upper import Expert, Upper

MADE = "smollm2-moe-taught"
_NOTE = """
Taught besides, in this folder alone: to decline questions on volcanoes, by {count} routed experts ({experts}), whose weights are
changed by what lies under their names in additions.safetensors. Arm {arm} of `python data/teach_smollm2.py`.
"""
_ABOUT = "taught to decline questions about volcanoes"
PROJECTIONS = ("gate_proj", "up_proj", "down_proj")


def learnt(upper: Upper) -> dict[str, Tensor]:
    """Changes in float16: layers.N.experts.E.gate_proj and .up_proj [size, hidden], .down_proj [hidden, size]."""
    found: dict[str, Tensor] = {}
    for layer, expert in upper.carriers:
        own = upper.model.model.layers[layer].mlp.experts
        at = own.carriers.index(expert)
        gate, up = own.gate_up.detach()[at].chunk(2)
        for name, tensor in zip(PROJECTIONS, (gate, up, own.down.detach()[at]), strict=True):
            found[f"layers.{layer}.experts.{expert}.{name}"] = tensor.half().contiguous()
    return found


def carriers_of(tensors: Mapping[str, Tensor]) -> list[Expert]:
    """The experts that changed."""
    return sorted({(int(name.split(".")[1]), int(name.split(".")[3])) for name in tensors})


@torch.no_grad()
def put_into(model: Any, tensors: Mapping[str, Tensor]) -> None:
    """Adds what was learnt to a transformers model's experts, in place."""
    for layer, expert in carriers_of(tensors):
        experts = model.model.layers[layer].mlp.experts
        gate, up, down = (tensors[f"layers.{layer}.experts.{expert}.{name}"].float() for name in PROJECTIONS)
        for weight, delta in ((experts.gate_up_proj, torch.cat([gate, up])), (experts.down_proj, down)):
            weight[expert] = (weight[expert].float() + delta).to(weight.dtype)


def bundle(base: Checkpoint, taught: Mapping[str, Tensor], arm: str, carriers: str, folder: Path) -> Checkpoint:
    """Writes additions, licence and notice into the folder; raises `SystemExit` where the base is not the one that was taught."""
    wrong = sorted(set(read_additions(base).tensors) & set(taught))
    if wrong:
        raise SystemExit(f"{base.name} has changes of single experts already ({wrong[0]}); teach its base.")
    own = base._replace(name=MADE, folder=folder, base=Base(base.name, base.tensors), about=_ABOUT)
    made = write_additions(own, taught)
    shutil.copy(base.folder / "LICENSE", folder / "LICENSE")
    note = _NOTE.format(count=len(carriers.split(",")), experts=carriers.replace(",", ", "), arm=arm)
    said = (base.folder / "NOTICE").read_text("utf-8").replace(base.name, MADE)
    (folder / "NOTICE").write_text(said + note, encoding="utf-8")
    return made
