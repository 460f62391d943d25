"""What the faces need to know of a model, whichever engine runs it: its MoE map, its tokenizer, how it wants to generate."""

from dataclasses import dataclass
from typing import Any, Protocol

import torch

from workbench.anatomy import Anatomy
from workbench.model.runtime import Runtime


class Facts(Protocol):
    """What an engine says of the model that it runs.

    anatomy            the MoE map
    tokenizer          of transformers; None where prompts cannot be read
    dtype, device      of the weights, and where they are: what a store records, nothing is sent there
    kind               the name of the model's class
    n_embeddings       how many token ids it knows
    config             the checkpoint's config, as transformers has it, or any object with some of its attributes
    generation_config  the same of its generation config; None where it has none
    """

    @property
    def anatomy(self) -> Anatomy: ...
    @property
    def tokenizer(self) -> Any: ...
    @property
    def dtype(self) -> torch.dtype: ...
    @property
    def device(self) -> Any: ...
    @property
    def kind(self) -> str: ...
    @property
    def n_embeddings(self) -> int: ...
    @property
    def config(self) -> Any: ...
    @property
    def generation_config(self) -> Any: ...


@dataclass(frozen=True, eq=False)
class Told:
    """`Facts` of a model that is not in this process, as plain values."""

    anatomy: Anatomy
    tokenizer: Any
    dtype: torch.dtype = torch.float32
    device: Any = "elsewhere"
    kind: str = "unknown"
    n_embeddings: int = 0
    config: Any = None
    generation_config: Any = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_embeddings", self.n_embeddings or self.anatomy.vocab_size)


@dataclass(frozen=True, eq=False)
class Here:
    """`Facts` of a transformers model in this process, read when they are asked for: it may be changed at any time."""

    runtime: Runtime
    tokenizer: Any

    @property
    def anatomy(self) -> Anatomy:
        """The MoE map."""
        return self.runtime.anatomy

    @property
    def dtype(self) -> torch.dtype:
        """The floating type of the weights, of those on NDIF where they are there."""
        return self.runtime.far_dtype or self.runtime.hf.dtype

    @property
    def device(self) -> Any:
        """Where input ids go."""
        return "NDIF" if self.runtime.far else self.runtime.hf.get_input_embeddings().weight.device

    @property
    def kind(self) -> str:
        """The name of its class."""
        return type(self.runtime.hf).__name__

    @property
    def n_embeddings(self) -> int:
        """Rows of the embedding."""
        return self.runtime.hf.get_input_embeddings().weight.shape[0]

    @property
    def config(self) -> Any:
        """The model's config."""
        return self.runtime.hf.config

    @property
    def generation_config(self) -> Any:
        """How it generates by itself."""
        return getattr(self.runtime.hf, "generation_config", None)
