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
from workbench.store import Counts

SOURCE = Path(probes.__file__).parent
FIRST_SLOTS = "from tests.probes.planted import first_slot_counts\n"


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


@contextmanager
def planted(folder: Path, mistake: Mistake | None) -> Iterator[ModuleType]:
    """The package with the mistake, importable under a name of its own while the block runs."""
    name = f"probes_mutant_{abs(hash(mistake))}"
    (folder / name).mkdir()
    for path in SOURCE.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        if mistake and path.name == mistake.file:
            text = _changed(text, mistake)
        (folder / name / path.name).write_text(text.replace("from probes", f"from {name}"), encoding="utf-8")
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
    return text[:docstring_end] + "\n" + FIRST_SLOTS + text[docstring_end:]


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
WRONG_LAYER = at("assemble.py", "np.array(layers, np.int64)", "np.array(layers, np.int64) - 1", LAYER)
# every token of a response counts, also those not read and the last, which was never computed
ALL_OF_RESPONSE = "a[kept], np.bincount(row, minlength=len(compared))[sequence][kept]"
UNREAD = at("reading.py", "a[kept], counted.tokens[kept]", ALL_OF_RESPONSE, PADDING)
FIRST_OF_READ = "first_slot_counts(store, mask, number[row])"
READ_SLOTS = at("reading.py", "store.counts(mask, number[row])", FIRST_OF_READ, SLOTS)
SLOT_COLUMN = ('batch.column("expert")', 'batch.column("slot")')
FIRST_OF_GROUP = "first_slot_counts(store, None, group)"

MISTAKES: dict[str, tuple[Mistake, ...]] = {
    "ftri": (
        at("ftri.py", "[1.0] + [-1.0 / (", "[-1.0] + [1.0 / (", SIGN),
        at("ftri.py", "read.a / read.tokens[:, None]", "read.a / read.tokens.mean()", DENOMINATOR),
        WRONG_LAYER,
        UNREAD,
        READ_SLOTS,
    ),
    "contrast": (
        at("contrast.py", TWO + "[1.0, -1.0]", TWO + "[-1.0, 1.0]", SIGN),
        at(
            "contrast.py",
            "Sample(read.a, read.tokens.astype(np.float64),",
            "Sample(read.a, np.ones(len(read.a)),",
            DENOMINATOR,
        ),
        WRONG_LAYER,
        UNREAD,
        READ_SLOTS,
    ),
    "npmi": (
        at("npmi.py", "np.tensordot(sign, score", "np.tensordot(abs(sign), score", SIGN),
        at("npmi.py", "/ np.log2(t / k)", "/ np.log2(t / total)", DENOMINATOR),
        WRONG_LAYER,
        # a marker on the last generated token, which was never computed, counts as an occurrence
        at("npmi.py", " & routed_tokens(store)", "", PADDING),
        at("occurrence.py", "store.counts(None, group)", FIRST_OF_GROUP, SLOTS),
    ),
    "usage": (
        at("usage.py", '"score": a.sum(0)', '"score": -a.sum(0)', SIGN),
        at("usage.py", "/ tokens_read.sum()", "/ len(tokens_read)", DENOMINATOR),
        WRONG_LAYER,
        # every token of a response counts, also those not read and the last, which was never computed
        at("usage.py", "= counted.tokens", "= np.bincount(sequence_of_row(store))[sequence]", PADDING),
        at("usage.py", "counted = store.counts(None, group)", "counted = " + FIRST_OF_GROUP, SLOTS),
    ),
    "safex": (
        at("safex.py", "top[0] & ~top[1]", "top[1] & ~top[0]", SIGN),
        # every response counts as if it were as long as the longest
        at("safex.py", "(times @ read.tokens)[:, None]", "(times.sum(1) * read.tokens.max())[:, None]", DENOMINATOR),
        WRONG_LAYER,
        UNREAD,
        READ_SLOTS,
    ),
    "super_experts": (
        at("super_experts.py", "score > limit", "score < limit", SIGN),
        at("super_experts.py", "float(values.max()) / 10}", "float(values.sum()) / 10}", DENOMINATOR),
        at("massive.py", "found.append(layer)", "found.append(layer + 1)", LAYER),
        # an expert that no token selected takes part with a zero
        at("extremes.py", "np.where(n == 0, np.nan, largest)", "np.where(n == 0, 0, largest)", PADDING),
        at(
            "extremes.py",
            '["expert", "output_max_abs"]',
            '["slot", "output_max_abs"]',
            SLOTS,
            SLOT_COLUMN,
        ),
    ),
}
