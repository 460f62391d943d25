"""A module that is no transformers model, dressed as one as far as capture and steering need it.

It takes input ids [batch, tokens] (and an attention mask, when its forward names one) and returns logits [batch, tokens,
vocabulary], alone, first in a tuple, or as `.logits`. It has no cache, so responses are given, not generated.
"""

import inspect
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from workbench.errors import WorkbenchError


class PlainModel(nn.Module):
    """`module` with the attributes of a transformers model that workbench reads: config, dtype, embeddings."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        embeddings = [m for m in module.modules() if isinstance(m, nn.Embedding)]
        if not embeddings:
            raise WorkbenchError(f"{type(module).__name__} has no nn.Embedding, so it takes no token ids.")
        self._embedding = (max(embeddings, key=lambda m: m.num_embeddings),)
        width = self._embedding[0].embedding_dim
        size = self._embedding[0].num_embeddings
        name = type(module).__name__
        text = SimpleNamespace(model_type=name, hidden_size=width, vocab_size=size, name_or_path=name)
        text.get_text_config = lambda: text
        self.config = text
        self._takes_mask = "attention_mask" in inspect.signature(module.forward).parameters

    @property
    def dtype(self) -> torch.dtype:
        """Of the parameters."""
        return next(self.module.parameters()).dtype

    def get_input_embeddings(self) -> nn.Embedding:
        """The largest embedding."""
        return self._embedding[0]

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, use_cache: bool = False, **_: Any
    ) -> SimpleNamespace:
        """Logits as transformers returns them. Raises `WorkbenchError` for what the module cannot do."""
        name = type(self.module).__name__
        if use_cache:
            raise WorkbenchError(
                f"{name} has no cache, so nothing is generated with it; capture with generate=0, giving responses."
            )
        if self._takes_mask:
            out = self.module(input_ids, attention_mask=attention_mask)
        elif attention_mask is not None and not attention_mask[:, 0].all():
            raise WorkbenchError(f"{name} takes no attention_mask, so its sequences cannot be padded on the left.")
        else:
            out = self.module(input_ids)
        logits = out[0] if isinstance(out, tuple) else getattr(out, "logits", out)
        return SimpleNamespace(logits=logits)

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        """The module's own, when it has one."""
        own = getattr(self.module, "generate", None)
        if own is None:
            raise WorkbenchError(f"{type(self.module).__name__} has no generate; give responses with the prompts.")
        return own(*args, **kwargs)
