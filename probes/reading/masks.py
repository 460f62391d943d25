"""Which tokens of a store count: a boolean array over `store.tokens`, for `Store.counts`."""

from collections.abc import Collection, Iterable
from typing import Literal

import numpy as np

from workbench.errors import WorkbenchError, suggestion, tallied
from workbench.prompts import ROLES
from workbench.store import Tables

Span = Literal["all", "prompt", "response", "first_prompt", "last_prompt"]
_SPANS = ("all", "prompt", "response", "first_prompt", "last_prompt")


def token_mask(
    store: Tables,
    span: Span = "all",
    *,
    roles: Iterable[str] | None = None,
    positions: Collection[int] | None = None,
    token_ids: Collection[int] | None = None,
    generated: bool | None = None,
) -> np.ndarray:
    """Bool [rows of store.tokens]: the tokens that meet every condition given.

    span: "prompt" is what was put in, "response" what follows (generated or given), "first_prompt" and "last_prompt"
        the first and the last token of the prompt; the last one decides the first answer token.
    roles: out of `workbench.prompts.roles.ROLES`. positions: within the sequence, from 0. generated: by this model.
    """
    frame = store.table("tokens", ["prompt_id", "position", "role", "token_id", "generated"])
    mask = _span(store, span, frame["prompt_id"].cat.codes.to_numpy(), frame["position"].to_numpy())
    if roles is not None:
        mask &= frame["role"].isin(_known_roles(roles, frame["role"])).to_numpy()
    if positions is not None:
        mask &= frame["position"].isin(list(positions)).to_numpy()
    if token_ids is not None:
        mask &= frame["token_id"].isin(list(token_ids)).to_numpy()
    if generated is not None:
        mask &= frame["generated"].to_numpy(bool) == generated
    return mask


def _span(store: Tables, span: Span, prompt: np.ndarray, position: np.ndarray) -> np.ndarray:
    if span not in _SPANS:
        raise WorkbenchError(f"'{span}' is no span of tokens; it can be {', '.join(_SPANS)}.")
    if span == "all":
        return np.ones(len(position), bool)
    length = store.prompts["n_tokens"].to_numpy()[prompt]
    return {
        "prompt": position < length,
        "response": position >= length,
        "first_prompt": position == 0,
        "last_prompt": position == length - 1,
    }[span]


def _known_roles(roles: Iterable[str], there: Iterable[str]) -> list[str]:
    chosen = [roles] if isinstance(roles, str) else list(roles)
    for role in chosen:
        if role not in ROLES:
            near = suggestion(role, list(ROLES)) or "."
            raise WorkbenchError(f"'{role}' is no role of a token; here they are {tallied(there, len(ROLES))}{near}")
    return chosen
