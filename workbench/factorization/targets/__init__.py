"""What a dense model becomes: the MoE architecture of transformers that holds it exactly, or what none of them holds.

modules.py        what it is made of, by the names of its tensors
architectures.py  which architectures there are, and which holds its attention
fields.py         config fields that are carried, and those that would be lost
twin.py           a small random twin, which shows what the model's code does
fit.py            all of it: `fit`
"""

from .architectures import ARCHITECTURES, Architecture
from .fit import Fit, check_config, fit, fit_of
from .modules import PROJECTIONS, Attention, windows
from .twin import VOCABULARY, WINDOW, twin_config, twin_of

__all__ = [
    "ARCHITECTURES", "PROJECTIONS", "VOCABULARY", "WINDOW", "Architecture", "Attention", "Fit", "check_config", "fit", "fit_of",
    "twin_config", "twin_of", "windows",
]  # fmt: skip
