"""The word that is read at each token, as a number: its id, or the id together with the one before it."""

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from probes.reading import sequence_of_row
from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    from workbench.store import Store

Word = Literal["token", "bigram"]


def has_words(store: "Store") -> bool:
    """Whether the store knows the id of every token."""
    ids: Any = store.tokens["token_id"]
    return not bool(ids.isna().any())


def words(store: "Store", by: Word) -> np.ndarray:
    """[rows of store.tokens] equal numbers where the same word is read; a bigram begins anew with each response.

    Raises `WorkbenchError` for a store without token ids.
    """
    if not has_words(store):
        raise WorkbenchError(
            f"'{store.path}' was captured without text, so its token ids are unknown; capture it again without --no-text."
        )
    ids: Any = store.tokens["token_id"]
    token = np.unique(ids.to_numpy(np.int64), return_inverse=True)[1].astype(np.int64)
    if by == "token":
        return token
    before = np.where(np.diff(sequence_of_row(store), prepend=-1) == 0, np.roll(token, 1) + 1, 0)
    return before * (int(token.max()) + 1) + token
