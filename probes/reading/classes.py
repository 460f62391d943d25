"""Which responses are compared: classes from labels or a response classifier.

A unit is one sequence: a prompt with one of its samples, numbered prompt * samples + sample.
"""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from probes.reading.tokens import sequence_of_row
from workbench.errors import WorkbenchError, listed, suggestion, tallied
from workbench.responses import Classifier, Refusal, classify
from workbench.store import n_cut

if TYPE_CHECKING:
    from workbench.store import Store

VERDICTS = ("refused", "answered")
REST = "others"
_COLUMNS = ("pair", "split", "cluster", "prompt_id")
_PART = re.compile(r'(?:"[^"]*"|[^,])+')  # between commas, those in double quotes aside
_QUOTED = re.compile(r'"[^"]*"')


class Classes(NamedTuple):
    """The class of every sequence, and what was done to find it."""

    names: tuple[str, ...]
    """The target first."""
    of_sequence: np.ndarray
    """[sequences] number in `names`, or -1 where the sequence is not compared."""
    notes: tuple[str, ...]


def classes(
    store: "Store",
    target: str | Callable[[str], bool],
    baseline: str | None,
    *,
    split_rest: bool = False,
    classifier: Classifier | None = None,
    where: str | None = None,
) -> Classes:
    """Target against baseline; without a baseline against all other sequences that have a value for the target's label.

    target: a label's value ("refused"), a name and value ("topic=war"), or a function from a response's text to true or
        false. split_rest: the others stay apart, one class for each value, instead of being pooled. classifier: takes the
        place of labels. where: only prompts of "split=ranking", "topic=war" (columns of prompts, or labels; several joined
        by commas; a value that holds one may stand in double quotes).
    Raises `WorkbenchError` for an unknown label, and when a class has no member.
    """
    values, wanted, notes = _values(store, target, baseline, classifier)
    inside = np.repeat(used_prompts(store, where), store.n_samples)
    names, of_value = _names(values, wanted, split_rest)
    found = np.where(inside & _present(store), [of_value(v) for v in values], -1)
    sizes = {name: int((found == i).sum()) for i, name in enumerate(names)}
    if len(sizes) < 2 or not all(sizes.values()):
        counted = ", ".join(f"{n} of '{name}'" for name, n in sizes.items())
        raise WorkbenchError(
            f"'{store.path}' has {counted}{f' where {where}' if where else ''}, and two classes with a response each are needed; "
            f"name other labels{_seen(values)}."
        )
    return Classes(names, found, tuple(notes + _left_out(found, inside & _present(store))))


def used_prompts(store: "Store", where: str | None) -> np.ndarray:
    """Bool [prompts]: those that meet every `name=value` of `where`; a value may hold commas, or stand in double quotes."""
    used = np.ones(store.n_prompts, bool)
    if where is not None and not isinstance(where, str):
        raise WorkbenchError(
            f"where is a {type(where).__name__}; write it as text, such as 'split=ranking, topic=war'."
        )
    parts = (_PART.findall(where) or [where]) if where else []
    while parts:
        found, value, n = _condition(store, parts)
        used &= np.array([v == value for v in found])
        parts = parts[n:]
    return used


def _condition(store: "Store", parts: list[str]) -> tuple[list[str | None], str, int]:
    """The prompts' values of the first condition, the value asked for, and how many parts between commas it takes.

    It ends where another begins, or at the end: `kind=maths, easy` is one condition where `kind` has the value
    `maths, easy`, also where it has `maths`.
    """
    name, equals, _ = (part.strip() for part in parts[0].partition("="))
    if not equals:
        raise WorkbenchError(f"where='{parts[0]}' is not known; write name=value, such as split=ranking.")
    found, names = _prompt_values(store, name), {*_COLUMNS, *store.labels["name"]}
    ends = [n for n in range(1, len(parts) + 1) if n == len(parts) or parts[n].partition("=")[0].strip() in names]
    asked = {n: ",".join(parts[:n]).partition("=")[2].strip() for n in ends}
    for n, text in asked.items():
        for value in (text, text[1:-1] if _QUOTED.fullmatch(text) else text):
            if value in found:
                return found, value, n
    value, known = asked[ends[0]], [v for v in found if v is not None]
    raise WorkbenchError(
        f"No prompt of '{store.path}' has {name}={value}; {name} is {tallied(known)}{suggestion(value, known) or '.'}"
    )


def prompt_column(store: "Store", name: str) -> list[str | None]:
    """A column of the prompts table as text, null as None, in canonical order."""
    return [None if pd.isna(value) else str(value) for value in store.prompts[name]]


def label_values(store: "Store", name: str) -> list[str | None]:
    """[sequences] the value of a label: the sample's own, else its prompt's, else None."""
    labels = store.labels
    return _over_sequences(store, labels[labels["name"] == name])


def _prompt_values(store: "Store", name: str) -> list[str | None]:
    if name in _COLUMNS:
        return prompt_column(store, name)
    if name not in set(store.labels["name"]):
        raise WorkbenchError(_no_label(store, name, " beside pair, split, cluster"))
    return label_values(store, name)[:: store.n_samples]


def _over_sequences(store: "Store", rows: Any) -> list[str | None]:
    number = {prompt: i for i, prompt in enumerate(store.prompt_ids)}
    out: list[str | None] = [None] * (store.n_prompts * store.n_samples)
    samples = rows["sample"] if "sample" in rows else pd.Series([None] * len(rows))
    columns = list(zip(rows["prompt_id"], samples, rows["value"], strict=True))
    for prompt, sample, value in sorted(
        columns, key=lambda row: not pd.isna(row[1])
    ):  # a sample's own value comes last
        first = number[prompt] * store.n_samples
        for i in range(store.n_samples) if pd.isna(sample) else [int(sample)]:
            out[first + i] = None if pd.isna(value) else str(value)
    return out


def _present(store: "Store") -> np.ndarray:
    """Bool [sequences]: whether the store has tokens of it."""
    out = np.zeros(store.n_prompts * store.n_samples, bool)
    out[sequence_of_row(store)] = True
    return out


def _no_label(store: "Store", name: str, beside: str = "") -> str:
    known = store.labels["name"].tolist()
    return f"'{store.path}' has no label '{name}'; it has {tallied(known)}{beside}{suggestion(name, known) or '.'}"


class _Wanted(NamedTuple):
    """The two values, and what stands before a value where it is said: `topic=`, or nothing where it was named alone."""

    target: str
    baseline: str | None
    before: str = ""


def _values(
    store: "Store", target: str | Callable[[str], bool], baseline: str | None, classifier: Classifier | None
) -> tuple[list[str | None], _Wanted, list[str]]:
    if callable(target):
        name = getattr(target, "__name__", type(target).__name__)
        verdicts = classify(store, lambda response: name if target(response) else f"not {name}")
        return _over_sequences(store, verdicts), _Wanted(name, None), [f"responses classified by {name}", *_cut(store)]
    if classifier is not None:
        return (
            _over_sequences(store, classify(store, classifier)),
            _Wanted(target, baseline),
            [f"classified by {classifier!r}", *_cut(store)],
        )
    name, value = _name_of(store, target)
    if name is None:
        note = "no label says refused or answered: responses classified by the rules of workbench.responses.classifier.Refusal"
        return _over_sequences(store, classify(store, Refusal())), _Wanted(target, baseline), [note, *_cut(store)]
    if baseline is None:
        return label_values(store, name), _Wanted(value, None, _before(name, target)), []
    other, baseline_value = _name_of(store, baseline, prefer=name)
    if other == name:
        return label_values(store, name), _Wanted(value, baseline_value, _before(name, target)), []
    return _of_two_labels(store, (name, value), (other, baseline_value), target, baseline)


def _before(name: str, said: str) -> str:
    return f"{name}=" if said.startswith(f"{name}=") else ""


def _cut(store: "Store") -> list[str]:
    n = n_cut(store)
    why = "an older workbench kept each token's text alone; label them by `classify(store, ..., tokenizer)` or capture again"
    return [f"{n} of the responses hold characters cut apart: {why}"] if n else []


def _of_two_labels(
    store: "Store", first: tuple[str, str], second: tuple[str | None, str], target: str, baseline: str
) -> tuple[list[str | None], _Wanted, list[str]]:
    if second[0] is None:
        raise WorkbenchError(f"'{target}' is a label of '{store.path}' and '{baseline}' is not; name two labels.")
    pairs = zip(label_values(store, first[0]), label_values(store, second[0]), strict=True)
    out: list[str | None] = []
    for a, b in pairs:
        if a == first[1] and b == second[1]:
            raise WorkbenchError(
                f"A response of '{store.path}' is both {target} and {baseline}; name classes that exclude each other."
            )
        out.append(target if a == first[1] else baseline if b == second[1] else None)
    return out, _Wanted(target, baseline), []


def check_label(store: "Store", text: str) -> None:
    """Raises `WorkbenchError` for what is neither a label's value nor a verdict of the refusal rules."""
    _name_of(store, text)


def _name_of(store: "Store", text: str, prefer: str | None = None) -> tuple[str | None, str]:
    """The label's name and value that `text` means; name None where the refusal rules have to say."""
    labels = store.labels
    name, equals, value = text.partition("=")
    if equals and name in set(labels["name"]):
        known = [v for n, v in zip(labels["name"], labels["value"], strict=True) if n == name and v is not None]
        if value not in known:
            raise WorkbenchError(
                f"No response of '{store.path}' has {text}; {name} is {tallied(known)}{suggestion(value, known) or '.'}"
            )
        return name, value
    names = sorted(set(labels["name"][labels["value"] == text]))
    if prefer in names:
        return prefer, text
    if len(names) > 1:
        raise WorkbenchError(
            f"'{text}' is a value of {listed(names)} in '{store.path}'; say which, like {names[0]}={text}."
        )
    if names:
        return names[0], text
    if text in VERDICTS:
        return None, text
    if equals:
        raise WorkbenchError(_no_label(store, name))
    known = [f"{n}={v}" for n, v in zip(labels["name"], labels["value"], strict=True)]
    near = suggestion(text, [*sorted({str(v) for v in labels["value"]}), *VERDICTS, *known]) or "."
    raise WorkbenchError(f"No label of '{store.path}' has the value '{text}'; it has {tallied(known)}{near}")


def _names(
    values: list[str | None], wanted: _Wanted, split_rest: bool
) -> tuple[tuple[str, ...], Callable[[str | None], int]]:
    if wanted.baseline is None and not split_rest:
        return (f"{wanted.before}{wanted.target}", REST), lambda v: -1 if v is None else int(v != wanted.target)
    rest = {v for v in values if v is not None} - {wanted.target}
    found = (wanted.target, *(sorted(rest) if wanted.baseline is None else [wanted.baseline]))
    return tuple(f"{wanted.before}{v}" for v in found), lambda v: found.index(v) if v in found else -1


def _left_out(found: np.ndarray, inside: np.ndarray) -> list[str]:
    n = int((inside & (found < 0)).sum())
    return [f"{n} responses are of neither class and were left out"] if n else []


def _seen(values: list[str | None]) -> str:
    known = [v for v in values if v is not None]
    return f"; the responses are {tallied(known)}" if known else ""
