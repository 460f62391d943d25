"""What the atlas can show of every expert, and what this store cannot answer, with the reason."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import pandas as pd

from probes.catalogue import RANKERS, Method, Need, ranker
from workbench import Store
from workbench.anatomy import Anatomy
from workbench.errors import listed

from ...choice import committed_choice
from ..session import View, identity, scores_of
from ..widgets import DIVERGING, SEQUENTIAL, visible
from .entropies import entropies, entropy_notes
from .offers import VERDICTS, Offer, offer


class Measure(NamedTuple):
    """A number per expert: what is asked of which probe, in which unit, and how it is coloured.

    middle  the value at the middle of two colours, where that is not zero
    """

    name: str
    method: str
    options: tuple[tuple[str, Any], ...]
    unit: str
    palette: str = SEQUENTIAL
    middle: float | None = None


class Measures(NamedTuple):
    """What this store can answer, and a sentence for each thing that it cannot."""

    measures: tuple[Measure, ...]
    refused: tuple[str, ...]


ENTROPY = "entropy of its tokens' routing"
_EVEN: dict[str, Callable[[int, int], float]] = {"load": lambda k, n: 1 / n, "share of tokens": lambda k, n: k / n}
"""What an even router has, of `k` selected out of `n` experts."""


def palette_of(probe: Method) -> str:
    """Two colours where a score has a sign, one from dark to light where it has none."""
    return DIVERGING if probe.negative_end else SEQUENTIAL


def options_of(view: View, method: str) -> dict[str, Any]:
    """Options of a probe: what it asks about classes, refused against answered, at the token that decides an answer.

    For the bundled model the options of fTRI are the ones that were chosen on its ranking split.
    """
    asked = dict(zip(ranker(method).classes, VERDICTS, strict=False))
    if method != "ftri":
        return asked
    chosen = committed_choice().options if view.name == "demo" else {}
    return {**asked, "tokens": "last_prompt", **chosen}


def measures_for(view: View, store: Store) -> Measures:
    """Every measure for this store, those that every store can answer first."""
    offered = offer(store.path)
    able = [probe for probe in _alone() if not _lacks(store, offered, probe)]
    plain = [probe for probe in able if not probe.classes and not probe.goes_with]
    found = [_around_even(m, store.anatomy) for probe in plain if not probe.needs for m in _plain(probe)]
    found.append(Measure(ENTROPY, "", (), "mean bits of its tokens' weights"))
    found += [m for probe in able if probe.classes for m in _compared(view, probe, offered)]
    found += [m for probe in able if "labels" in probe.needs for m in _by_domain(probe, offered)]
    roles = sorted(offered.roles) if len(offered.roles) > 1 else []  # a role that all tokens have tells nothing
    for probe in able:
        if probe.goes_with:
            found += [_going_with(probe, f"role {role}", role=role) for role in roles]
            found += [_going_with(probe, name, target=name) for name in offered.compared]
    found += [m for probe in plain if probe.needs and "labels" not in probe.needs for m in _plain(probe)]
    return Measures(tuple(found), tuple(_refused(store, offered)))


def _alone() -> list[Method]:
    """The probes that ask one store alone."""
    return [probe for probe in RANKERS.values() if not probe.beside]


def _lacks(store: Store, offered: Offer, probe: Method) -> tuple[Need, ...]:
    """What the probe needs and this store has not."""
    kept = {need: need not in store.lacks for need in probe.needs}
    kept["norms"] = "norms" in store.plan_json["options"].get("keep", ("norms",))
    kept["labels"] = bool(offered.domains)
    kept["labels or responses"] = bool(offered.compared) or offered.has_verdicts
    kept["pairs"] = bool(store.prompts["pair"].notna().any())
    return tuple(need for need in probe.needs if not kept[need])


def _refused(store: Store, offered: Offer) -> Iterable[str]:
    """A sentence for all probes that lack the same."""
    without: dict[tuple[Need, ...], list[str]] = {}
    for probe in _alone():
        if lacks := _lacks(store, offered, probe):
            without.setdefault(lacks, []).append(probe.title)
    for needs, titles in without.items():
        if needs == ("labels or responses",) and offered.has_responses:
            yield (
                f"{listed(titles)} cannot be asked here: of refused and answered responses this store has one kind alone, and "
                "no label tells its prompts apart; capture prompts with labels."
            )
        else:
            yield f"{listed(titles)} cannot be asked here, for want of {' and '.join(needs)}; capture again with them."


def token_measure(token: str, *, template: bool = False) -> Measure:
    """How much experts go with one token, as it is written; template: also where the chat template says it."""
    read = {"tokens": "all"} if template else {}
    return _going_with(ranker("npmi"), f"token {token}", token=token, **read)


def values_of(view: View, measure: Measure) -> pd.DataFrame:
    """layer, expert, score, n, and where the probe has them low, high, p_adjusted; routed experts, ranked.

    Raises `WorkbenchError` when this store cannot say.
    """
    assert view.store_path is not None
    if measure.name == ENTROPY:
        return entropies(str(view.store_path), identity(view.store_path))
    frame: Any = scores_of(view.store_path, measure.method, **dict(measure.options)).frame
    return frame[~frame["is_shared"]]


def notes_of(view: View, measure: Measure) -> tuple[str, ...]:
    """What the probe says about its answer."""
    if measure.name == ENTROPY or view.store_path is None:
        return entropy_notes(view.store_path)
    return scores_of(view.store_path, measure.method, **dict(measure.options)).notes


def _plain(probe: Method) -> Iterable[Measure]:
    """The probe as it is, and what else it can measure."""
    yield Measure(probe.score, probe.name, (), probe.unit, palette_of(probe))
    for reading in probe.readings:
        yield Measure(reading.name, probe.name, tuple(reading.options.items()), reading.unit, palette_of(probe))


def _by_domain(probe: Method, offered: Offer) -> Iterable[Measure]:
    """The same, once for every label whose values can be compared."""
    for label in offered.domains:
        for one in _plain(probe):
            name = f"{one.name}: {visible(label)}"
            yield one._replace(name=name, options=(*one.options, ("domains", label)))


def _around_even(measure: Measure, anatomy: Anatomy) -> Measure:
    """Shares in two colours, with that of an even router in the middle, where all layers have the same."""
    shapes = {(anatomy.layer(n).top_k, anatomy.layer(n).n_experts) for n in anatomy.moe_layers}
    if measure.name not in _EVEN or len(shapes) != 1:
        return measure
    return measure._replace(palette=DIVERGING, middle=_EVEN[measure.name](*shapes.pop()))


def _compared(view: View, probe: Method, offered: Offer) -> Iterable[Measure]:
    palette = palette_of(probe)
    if offered.has_verdicts:
        options = tuple(options_of(view, probe.name).items())
        yield Measure(f"{probe.score}: {' against '.join(VERDICTS)}", probe.name, options, probe.unit, palette)
    for name in offered.compared:
        against = f"{probe.score}: {visible(name)} against the others"
        yield Measure(against, probe.name, ((probe.classes[0], name),), probe.unit, palette)


def _going_with(probe: Method, name: str, **options: Any) -> Measure:
    said = f"{probe.score}: {visible(name)}"
    return Measure(said, probe.name, tuple(options.items()), probe.unit, palette_of(probe))
