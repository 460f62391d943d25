"""Every ranking that a store allows, by name, and the reasons why others cannot be made."""

import inspect
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from probes.catalogue import RANKERS, Method
from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    from probes.ranking import ExpertScores
    from workbench.store import Store

_DRAWS = ("n_bootstrap", "n_permutations")
"""Only ranks are compared, so no interval and no p-value is drawn."""


class Asked(NamedTuple):
    """What a store answered, and what it could not."""

    scores: "Mapping[str, ExpertScores]"
    """By the probe's name, and by `probe: reading` where a probe offers another measure."""
    refused: Mapping[str, tuple[str, ...]]
    """By the reason, the names of the rankings that it refuses."""


def rankings(store: "Store", target: str | None = None, baseline: str | None = None) -> Asked:
    """Asks every probe that ranks, by its defaults, and each of its other readings.

    target, baseline  labels, as in the probes that compare classes; without a target those alone are asked that have one
    Each probe passes over the store by itself. Raises nothing: a refusal of a probe is its reason here.
    """
    scores, refused = dict[str, "ExpertScores"](), dict[str, list[str]]()
    for name, method, options in _questions(target, baseline):
        try:
            scores[name] = _ask(store, method, options)
        except WorkbenchError as error:
            refused.setdefault(str(error), []).append(name)
    return Asked(scores, {reason: tuple(names) for reason, names in refused.items()})


def _questions(target: str | None, baseline: str | None) -> Iterator[tuple[str, Method, dict[str, Any]]]:
    for name, method in RANKERS.items():
        given = dict(zip(method.classes, (target, baseline), strict=False))
        if "target" in method.goes_with:
            given["target"] = target
        known = {key: value for key, value in given.items() if value is not None}
        yield name, method, known
        for reading in method.readings:
            yield f"{name}: {reading.name}", method, {**known, **reading.options}


def _ask(store: "Store", method: Method, options: dict[str, Any]) -> "ExpertScores":
    if method.beside:
        raise WorkbenchError("It compares with another store, and one alone is asked here.")
    if method.goes_with and not {*method.goes_with} & {*options}:
        raise WorkbenchError("It asks what goes with a label, and none was named; give a target.")
    ask = method.load()
    known = inspect.signature(ask).parameters
    needed = [name for name, p in known.items() if p.default is p.empty and name != "store"]
    if [name for name in needed if name not in options]:
        raise WorkbenchError("It compares classes of responses, and none was named; give a target.")
    return ask(store, **options, **{name: 0 for name in _DRAWS if name in known})
