"""A model ready to capture and steer: what `load` returns, and every other part takes."""

from dataclasses import dataclass
from typing import Any

import torch

from workbench.anatomy import Anatomy
from workbench.model.runtime import Runtime


@dataclass(frozen=True, eq=False)
class MoEModel:
    """A transformers model (`.hf`, unchanged whenever nothing is active), its tokenizer and its `Anatomy`.

    nnsight    the nnsight model that it was loaded from, if any
    far_dtype  the dtype of the weights where they are on NDIF (`.hf` is then a skeleton without weights); else None
    """

    hf: Any
    tokenizer: Any
    runtime: Runtime
    nnsight: Any = None
    far_dtype: torch.dtype | None = None

    @property
    def anatomy(self) -> Anatomy:
        """The MoE map."""
        return self.runtime.anatomy

    @property
    def device(self) -> torch.device:
        """Where input ids go."""
        return self.hf.get_input_embeddings().weight.device

    @property
    def dtype(self) -> torch.dtype:
        """The floating type of the weights."""
        return self.far_dtype or self.hf.dtype

    @property
    def image_token(self) -> int | None:
        """The id that stands for an image in a prompt; None for a model of text alone."""
        names = ("image_token_id", "image_token_index")
        return next((x for x in (getattr(self.hf.config, n, None) for n in names) if x is not None), None)

    def __repr__(self) -> str:
        a = self.anatomy
        return f"<MoEModel {a.model}: {a.family}, {len(a.moe_layers)} MoE layers, {a.n_experts} experts, {self.dtype}>"
