"""A language model as describer of experts: asked for a label, then which held-out places the label means."""

import os
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from probes.reading import sequence_of_row
from workbench.anatomy import as_ref
from workbench.errors import WorkbenchError
from workbench.progress import Progress, ProgressLines
from workbench.responses import endpoint_at, is_http

if TYPE_CHECKING:
    from workbench.store import Store

KEY = "WORKBENCH_DESCRIBE_KEY"
"""The environment variable that holds the key, and the only place it is taken from."""
_AROUND = 12
_DESCRIBE = (
    "In each excerpt one word stands between [[ and ]]. At the words of the first group a part of a language model is active, at "
    "those of the second it is not.\n\nActive:\n{on}\n\nNot active:\n{off}\n\nSay in at most 12 words what the active words, or "
    "their contexts, have in common and the others do not. Reply with this description alone."
)
_FIND = (
    "A part of a language model is active at words that this description means:\n{label}\n\nIn each numbered excerpt one word "
    "stands between [[ and ]]. At which of them is it active?\n\n{mixed}\n\nReply with their numbers, separated by commas, or "
    "with none."
)


class Asking(NamedTuple):
    """What will be asked of whom."""

    endpoint: str
    model: str
    contexts: int
    experts: tuple[tuple[int, int], ...]

    @property
    def sent(self) -> str:
        """How much goes out."""
        n = len(self.experts)
        return f"up to {4 * self.contexts} contexts of each of {n} experts in {2 * n} calls"


def asking(
    store: "Store", endpoint: str | None, model: str, contexts: int, calls: int, experts: list[str] | None
) -> Asking | None:
    """What a model would be asked, or None where none is; experts are those named, or all.

    Raises `WorkbenchError` for an expert that does not exist, an address that is none, no model, and more calls than allowed.
    """
    known = [(layer, e) for layer in store.layers for e in range(store.anatomy.layer(layer).n_experts)]
    chosen = (
        known if experts is None else [(ref.layer, ref.expert) for ref in map(as_ref, experts) if not ref.is_shared]
    )
    if lost := [f"L{layer}E{e}" for layer, e in chosen if (layer, e) not in known]:
        raise WorkbenchError(
            f"'{store.path}' has no expert {lost[0]}; its layers are {', '.join(map(str, store.layers))}."
        )
    if endpoint is None:
        return None
    if not is_http(endpoint) or not model or contexts < 1:
        raise WorkbenchError(
            f"endpoint='{endpoint}', model='{model}' and contexts={contexts} describe nothing; give an http(s) address, the "
            f"model's name and 1 context or more."
        )
    if 2 * len(chosen) > calls:
        raise WorkbenchError(
            f"Describing {len(chosen)} experts takes {2 * len(chosen)} calls, over calls={calls}; name some by experts, or raise "
            f"calls."
        )
    return Asking(endpoint, model, contexts, tuple(chosen))


def said_by(
    wanted: Asking, store: "Store", frame: pd.DataFrame, sides: tuple[np.ndarray, np.ndarray], seed: int
) -> pd.DataFrame:
    """The frame with a model's labels and their AUROC; first it is said what is sent where.

    sides  rows of store.tokens that may be shown for a label, and that may be asked about
    """
    ProgressLines()(Progress(0, 0, 0.0, f"Sending text of '{store.path}' to {wanted.endpoint}: {wanted.sent}."))
    endpoint = endpoint_at(wanted.endpoint, os.environ.get(KEY, "").strip(), 120.0, who="describer")
    texts, told = _Texts(store), dict[tuple[int, int], tuple[str, float, int]]()
    for layer, expert in wanted.experts:
        chosen = (store.routing(layer).expert == expert).any(axis=1)
        rng = np.random.default_rng([seed, layer, expert])
        known, asked = ([_some(part[chosen[part] == on], wanted.contexts, rng) for on in (True, False)]
                        for part in sides)  # fmt: skip
        told[layer, expert] = _asked(endpoint, wanted.model, texts, known, asked, rng)
    rows = [told[at] for at in zip(frame["layer"].tolist(), frame["expert"].tolist(), strict=True)]
    label, auroc, n = zip(*rows, strict=True)
    return frame.assign(label=label, auroc=auroc, n=n, low=np.nan, high=np.nan)


def _asked(
    endpoint: Any,
    model: str,
    texts: "_Texts",
    known: list[np.ndarray],
    asked: list[np.ndarray],
    rng: np.random.Generator,
) -> tuple[str, float, int]:
    """A label, its AUROC and how many held-out places select the expert; nothing is asked where there is nothing to show."""
    if not all(map(len, [*known, *asked])):
        return "", np.nan, len(asked[0])
    on, off = ("\n".join(f"- {texts.around(row)}" for row in rows) for rows in known)
    label = endpoint.said(_body(model, _DESCRIBE.format(on=on, off=off))).strip()
    mixed = rng.permutation(np.concatenate(asked))
    listed = "\n".join(f"{i + 1}. {texts.around(row)}" for i, row in enumerate(mixed))
    reply = endpoint.said(_body(model, _FIND.format(label=label, mixed=listed)))
    numbers = {int(found) for found in re.findall(r"\d+", reply)}
    means = np.isin(np.arange(1, len(mixed) + 1), [*numbers])
    active = np.isin(mixed, asked[0])
    return label, float(0.5 + (means[active].mean() - means[~active].mean()) / 2), len(asked[0])


def _body(model: str, content: str) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": content}], "temperature": 0, "max_tokens": 100}


def _some(rows: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    return np.sort(rng.choice(rows, most, replace=False)) if len(rows) > most else rows


class _Texts:
    """The text around tokens."""

    def __init__(self, store: "Store") -> None:
        self._words = store.tokens["token"].astype(object).to_numpy()
        self._sequence = sequence_of_row(store)

    def around(self, row: int) -> str:
        """A dozen tokens on each side within the response, the token between brackets, on one line."""
        near = np.arange(max(row - _AROUND, 0), min(row + _AROUND + 1, len(self._words)))
        near = near[self._sequence[near] == self._sequence[row]]
        text = "".join(f"[[{self._words[i]}]]" if i == row else str(self._words[i]) for i in near)
        return " ".join(text.split())
