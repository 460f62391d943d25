"""Questions asked of a store: which experts go with a class of responses, a token, a side of a pair; no torch, no model.

Most take a store and return `ExpertScores`, or a table of layers, pairs, sets of experts or tokens: an association with these
prompts, not an effect. From below:

checked.py           the door of every probe: kinds of arguments
renamed.py           old words of arguments
method.py            what is said of a probe
reading, magnitudes  what is read of a store, and where its values are extreme
ranking, statistics, baselines  what a probe answers with, what chance could do, what the words alone say
contrasts, associations, utilisation, outputs, traffic, specialisation, importance, structure  the probes, one a file
entries              what is said of each probe, by family
catalogue.py         every probe with what it needs and how it reads
agreement            all rankings of a store side by side
options.py           a probe's options out of text or a recipe, checked

Names are imported when first used: the catalogue can be read without numpy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from probes.catalogue import METHODS

if TYPE_CHECKING:
    from probes.associations import *  # noqa: F403
    from probes.contrasts import *  # noqa: F403
    from probes.importance import *  # noqa: F403
    from probes.magnitudes import MassiveRule as MassiveRule
    from probes.outputs import *  # noqa: F403
    from probes.ranking import ExpertScores as ExpertScores
    from probes.ranking import LayerTable as LayerTable
    from probes.ranking import PairTable as PairTable
    from probes.ranking import SetTable as SetTable
    from probes.ranking import TokenTable as TokenTable
    from probes.specialisation import *  # noqa: F403
    from probes.structure import *  # noqa: F403
    from probes.traffic import *  # noqa: F403
    from probes.utilisation import *  # noqa: F403

_HOME = {"MassiveRule": "magnitudes", "writers_of": "outputs"}
_HOME |= dict.fromkeys(("ExpertScores", "LayerTable", "PairTable", "SetTable", "TokenTable"), "ranking")
_PROBES = {method.name: method for method in METHODS}
__all__ = [*_HOME, *_PROBES]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _PROBES:
        return _PROBES[name].load()
    if name not in _HOME:
        raise AttributeError(f"probes has no '{name}'; it has {', '.join(sorted(__all__))}.")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
