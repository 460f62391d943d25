"""A name, a folder or a model of another library to a checked `MoEModel`.

hub            what the hub says
tiny_configs   sizes of the tiny models
tiny           every family with random weights
check          checked by intervening
loader         `load`
"""

from workbench.loading.loader import load
from workbench.loading.tiny import tiny_model, tiny_tokenizer

__all__ = ["load", "tiny_model", "tiny_tokenizer"]
