"""A name, a folder or a model of another library to a checked `MoEModel`.

tiny_configs.py   sizes of the tiny models
tiny.py           every family with random weights
heard.py          which layers are surely heard, a row of a batch each
check.py          checked by intervening
files.py          a full hash of a checkpoint
checked.py        what was checked before
in_vllm.py        what vLLM is to serve
loader.py         `load`
"""

from workbench.loading.in_vllm import Read, read_once
from workbench.loading.loader import load
from workbench.loading.tiny import tiny_model, tiny_tokenizer

__all__ = ["Read", "load", "read_once", "tiny_model", "tiny_tokenizer"]
