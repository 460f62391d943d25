"""A name, a folder or a model of another library to a checked `MoEModel`.

hub            what the hub says
tiny_configs   sizes of the tiny models
tiny           every family with random weights
check          checked by intervening
loader         `load`
"""

from workbench.loading.loader import load

__all__ = ["load"]
