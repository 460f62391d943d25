"""Copies of the package `probes` with one mistake planted, and the mistakes."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

import probes
from probes.reading import sequence_of_row
from workbench.store import Counts

SOURCE = Path(probes.__file__).parent
MISTAKEN = "from tests.probes.oracle.planted import first_slot_counts, response_lengths\n"


class Mistake(NamedTuple):
    """Text of one file that is replaced; each piece stands there exactly once."""

    kind: str
    file: str
    changes: tuple[tuple[str, str], ...]


def first_slot_counts(store: Any, tokens: np.ndarray | None, by: np.ndarray, value: str = "count") -> Counts:
    """Counts that take slot 0 for the best expert and see no other."""
    right = store.counts(tokens, by, value)
    group = by if tokens is None else np.where(tokens, by, -1)
    n = np.zeros_like(right.n)
    for i, layer in enumerate(right.layers):
        found = store.routing(layer)
        kept = (group >= 0) & (found.expert[:, 0] >= 0)
        np.add.at(n[:, i], (group[kept], found.expert[kept, 0]), found.weight[kept, 0] if value == "weight" else 1)
    return Counts(n, right.tokens, right.layers)


def response_lengths(store: Any) -> np.ndarray:
    """[sequences] every token of a response, also those not read and the last, which was never computed."""
    return np.bincount(sequence_of_row(store))


@contextmanager
def planted(folder: Path, mistake: Mistake | None) -> Iterator[ModuleType]:
    """The package with the mistake, importable under a name of its own while the block runs."""
    name = f"probes_mutant_{abs(hash(mistake))}"
    (folder / name).mkdir()
    for path in SOURCE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        inner = path.relative_to(SOURCE).as_posix()
        if mistake and inner == mistake.file:
            text = _changed(text, mistake)
        copy = folder / name / inner
        copy.parent.mkdir(exist_ok=True)
        copy.write_text(text.replace("from probes", f"from {name}"), encoding="utf-8")
    sys.path.insert(0, str(folder))
    try:
        yield importlib.import_module(name)
    finally:
        sys.path.remove(str(folder))
        for module in [m for m in sys.modules if m.split(".")[0] == name]:
            del sys.modules[module]


def _changed(text: str, mistake: Mistake) -> str:
    for old, new in mistake.changes:
        assert text.count(old) == 1, f"{mistake.file} holds {old!r} {text.count(old)} times; plant the mistake anew"
        text = text.replace(old, new)
    docstring_end = text.index('"""\n') + 4
    return text[:docstring_end] + "\n" + MISTAKEN + text[docstring_end:]


def at(file: str, old: str, new: str, kind: str, *more: tuple[str, str]) -> Mistake:
    return Mistake(kind, file, ((old, new), *more))


SIGN, DENOMINATOR, LAYER, PADDING, SLOTS = (
    "sign",
    "denominator",
    "layer off by one",
    "padding counted",
    "slots taken as ranks",
)
KINDS = {SIGN, DENOMINATOR, LAYER, PADDING, SLOTS}
TWO = "class_members(read.label, 2), np.array("
WRONG_LAYER = at("reading/axis.py", "np.array(layers, np.int64)", "np.array(layers, np.int64) - 1", LAYER)
# every token of a response counts, also those not read and the last, which was never computed
ALL_OF_RESPONSE = "a[kept], np.bincount(row, minlength=len(compared))[sequence][kept]"
UNREAD = at("reading/units.py", "a[kept], counted.tokens[kept]", ALL_OF_RESPONSE, PADDING)
FIRST_OF_READ = "first_slot_counts(store, mask, number[row])"
READ_SLOTS = at("reading/units.py", "store.counts(mask, number[row])", FIRST_OF_READ, SLOTS)
SLOT_COLUMN = ('batch.column("expert")', 'batch.column("slot")')
FIRST_OF_GROUP = "first_slot_counts(store, None, group)"

MISTAKES: dict[str, tuple[Mistake, ...]] = {
    "ftri": (
        at("contrasts/ftri.py", "[1.0] + [-1.0 / (", "[-1.0] + [1.0 / (", SIGN),
        at("contrasts/ftri.py", "read.a / read.tokens[:, None]", "read.a / read.tokens.mean()", DENOMINATOR),
        WRONG_LAYER,
        UNREAD,
        READ_SLOTS,
    ),
    "contrast": (
        at("contrasts/contrast.py", TWO + "[1.0, -1.0]", TWO + "[-1.0, 1.0]", SIGN),
        at(
            "contrasts/contrast.py",
            "Sample(read.a, read.tokens.astype(np.float64),",
            "Sample(read.a, np.ones(len(read.a)),",
            DENOMINATOR,
        ),
        WRONG_LAYER,
        UNREAD,
        READ_SLOTS,
    ),
    "npmi": (
        at("associations/npmi.py", "np.tensordot(sign, score", "np.tensordot(abs(sign), score", SIGN),
        at("associations/npmi.py", "/ np.log2(t / k)", "/ np.log2(t / total)", DENOMINATOR),
        WRONG_LAYER,
        # a marker on the last generated token, which was never computed, counts as an occurrence
        at("associations/npmi.py", " & store.routed_tokens", "", PADDING),
        at("reading/occurrence.py", "store.counts(None, group)", FIRST_OF_GROUP, SLOTS),
    ),
    "usage": (
        at("utilisation/usage.py", '"score": a.sum(0)', '"score": -a.sum(0)', SIGN),
        at("utilisation/usage.py", "/ tokens_read.sum()", "/ len(tokens_read)", DENOMINATOR),
        WRONG_LAYER,
        # every token of a response counts, also those not read and the last, which was never computed
        at("utilisation/usage.py", "= counted.tokens", "= response_lengths(store)[sequence]", PADDING),
        at("utilisation/usage.py", "counted = store.counts(None, group)", "counted = " + FIRST_OF_GROUP, SLOTS),
    ),
    "safex": (
        at("contrasts/safex.py", "top[0] & ~top[1]", "top[1] & ~top[0]", SIGN),
        # every response counts as if it were as long as the longest
        at(
            "contrasts/safex.py",
            "(times @ read.tokens)[:, None]",
            "(times.sum(1) * read.tokens.max())[:, None]",
            DENOMINATOR,
        ),
        WRONG_LAYER,
        UNREAD,
        READ_SLOTS,
    ),
    "super_experts": (
        at("magnitudes/rule.py", "score > limit", "score < limit", SIGN),
        at("magnitudes/rule.py", "float(values.max()) / 10}", "float(values.sum()) / 10}", DENOMINATOR),
        at("magnitudes/massive.py", '{"layer": layer, "row": rows', '{"layer": layer + 1, "row": rows', LAYER),
        # an expert that no token selected takes part with a zero
        at("magnitudes/extremes.py", "np.where(n == 0, np.nan, largest)", "np.where(n == 0, 0, largest)", PADDING),
        at(
            "magnitudes/extremes.py",
            '["expert", "output_max_abs"]',
            '["slot", "output_max_abs"]',
            SLOTS,
            SLOT_COLUMN,
        ),
    ),
}
