"""A name, a folder or a model of another library to a checked `MoEModel`.

tiny_configs.py   sizes of the tiny models
tiny.py           every family with random weights
check.py          checked by intervening
loader.py         `load`
"""

from workbench.loading.hub import hub_unreachable
from workbench.loading.loader import check_whole, first_line, load
from workbench.loading.tiny import tiny_model, tiny_tokenizer

__all__ = ["check_whole", "first_line", "hub_unreachable", "load", "tiny_model", "tiny_tokenizer"]
