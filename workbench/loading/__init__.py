"""A name, a folder or a model of another library to a checked `MoEModel`.

tiny_configs.py   sizes of the tiny models
tiny.py           every family with random weights
check.py          checked by intervening
loader.py         `load`
"""

from workbench.loading.loader import load
from workbench.loading.tiny import tiny_model, tiny_tokenizer

__all__ = ["load", "tiny_model", "tiny_tokenizer"]
