"""Which words experts and their neurons read and write: their directions through the output head."""

from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd

from probes.checked import checked
from probes.ranking import TokenTable
from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    from workbench.store import Store

Of = Literal["neurons", "experts"]
Side = Literal["write", "read", "gate"]


@checked
def decode(
    store: "Store", *, of: Of = "neurons", side: Side = "write", token: str | None = None, first: int = 1000
) -> TokenTable:
    """Which words the directions of experts, or of their neurons, stand for, those that say one word most clearly first.

        write  logits = H (g * v)    v  a neuron's column of the down projection: what it adds to the stream when it is on
        read   logits = H u          u  its row of the up projection: what turns it on
        gate   logits = H w          w  its row of the gate, where there is one
        share  of the softmax over all words, the first one's

    H  the output head; g  the gain of the norm before it
    of     "experts": a row an expert, which reads its router's row, and writes the one direction that holds most of what its
           neurons write (the first singular vector of the down projection, on the side of their sum)
    token  only directions with this word among the eight that are kept, as it is written: " dog" has its space
    first  how many rows are kept; 0 keeps every direction

    A row has layer, expert and neuron (null: the expert), its first word with token_id, logit and share, and `words`, all
    eight. n: how many directions of this kind have the same first word; where that is many, the word says little. Range of share
    [0, 1]; it grows with the length of the direction. The model's weights alone: no prompt, no interval, no p-value.

    Theirs: the up projection's rows through the head, labelled by the top word and its share (arXiv 2501.02688, "Decoding
    Specialised Feature Neurons"); whether the norm's gain is folded in is not known. Ours: gate and write directions (the latter
    is the view of key-value memories, Geva et al.), experts as wholes, n.

    Not evidence that the neuron writes the word: what later layers and other neurons add is not seen, early layers do not
    speak the head's language, and a column may be taken times a negative number. Mute the expert and compare.
    Raises `WorkbenchError` for unknown words, a word that no direction has, and where the store kept no directions.
    """
    if of not in get_args(Of) or side not in get_args(Side) or first < 0:
        raise WorkbenchError(
            f"of='{of}', side='{side}' and first={first} decode nothing; of is {', '.join(get_args(Of))}, side is "
            f"{', '.join(get_args(Side))}, first from 0."
        )
    frame: Any = store.table("directions")
    whole = frame["neuron"].isna()
    frame = frame[(whole if of == "experts" else ~whole) & (frame["side"] == side)]
    if frame.empty:
        raise WorkbenchError(
            f"'{store.path}' has no {side} directions of {of}: experts have no gate, and no row to read where the router is more "
            f"than one matrix; ask for another side, or for neurons."
        )
    found: Any = _rows(frame)
    notes = (
        f"{len(found)} directions: {side}, {of}",
        "the model's weights alone: no token is read, no interval, no p-value",
    )
    if token is not None:
        found = found[[token in words for words in frame["words"]]]
        notes = (*notes, f"{len(found)} of them have the word {token!r} among the first eight")
    if found.empty:
        raise WorkbenchError(
            f"No direction of '{store.path}' ({side}, {of}) has the word {token!r} among its first eight; give it as the "
            f"tokenizer writes it, with its space."
        )
    order = np.lexsort([found["neuron"].fillna(-1), found["expert"], found["layer"], -found["share"]])
    found = found.iloc[order[:first] if first else order]
    options = {"of": of, "side": side, "token": token, "first": first}
    return TokenTable.of(store, "decode", options, found, notes)


def _rows(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each direction, in the order of the table."""
    ids = np.array([tokens[0] for tokens in frame["token_ids"]], np.int64)
    times = dict(zip(*np.unique(ids, return_counts=True), strict=True))
    return pd.DataFrame(
        {
            "token_id": ids,
            "token": [words[0] for words in frame["words"]],
            "n": [int(times[i]) for i in ids],
            "layer": frame["layer"].to_numpy(),
            "expert": frame["expert"].to_numpy(),
            "neuron": frame["neuron"].to_numpy(np.float64, na_value=np.nan),
            "logit": [float(logits[0]) for logits in frame["logits"]],
            "share": frame["share"].to_numpy(np.float64),
            "words": [" ".join(repr(word) for word in words) for words in frame["words"]],
        }
    )
