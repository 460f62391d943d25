"""A model ready to capture and steer: what `load` returns, and every other part takes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from workbench.anatomy import Anatomy
from workbench.errors import WorkbenchError
from workbench.model.facts import Facts, Here
from workbench.model.runtime import Runtime


@dataclass(frozen=True, eq=False)
class MoEModel:
    """A model, its tokenizer, its `Anatomy`, and what runs it; `load` makes one.

    local   what hooks know of a transformers model in this process (`.hf`); None where an engine of its own runs the model
    engine  makes the engine of a model: `workbench.backends.backend_of` asks it
    told    what that engine says of the model, where it is not in this process
    """

    tokenizer: Any
    local: Runtime | None
    engine: "Callable[[MoEModel], Any]"
    told: Facts | None = None

    @property
    def runtime(self) -> Runtime:
        """Modules, rules and hooks. Raises `WorkbenchError` for a model that is not in this process."""
        if self.local is None:
            raise WorkbenchError(
                f"{self.anatomy.model} runs on an engine of its own, so no transformers model of it is in this process; capture, "
                f"compare and stream take it as it is, and .hf needs a load without engine."
            )
        return self.local

    @property
    def hf(self) -> Any:
        """The transformers model, unchanged whenever nothing is active; of one on NDIF a skeleton without weights."""
        return self.runtime.hf

    @property
    def facts(self) -> Facts:
        """What its engine says of it."""
        return self.told or Here(self.runtime, self.tokenizer)

    @property
    def anatomy(self) -> Anatomy:
        """The MoE map."""
        return self.facts.anatomy

    @property
    def device(self) -> Any:
        """Where input ids go."""
        return self.facts.device

    @property
    def dtype(self) -> torch.dtype:
        """The floating type of the weights."""
        return self.facts.dtype

    @property
    def image_token(self) -> int | None:
        """The id that stands for an image in a prompt; None for a model of text alone."""
        names = ("image_token_id", "image_token_index")
        return next((x for x in (getattr(self.facts.config, n, None) for n in names) if x is not None), None)

    def __repr__(self) -> str:
        a = self.anatomy
        return f"<MoEModel {a.model}: {a.family}, {len(a.moe_layers)} MoE layers, {a.n_experts} experts, {self.dtype}>"
