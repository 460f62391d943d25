"""Which tokens a method reads, by name. Every name says which position's own routing is read.

The computation at the last prompt position decides the first generated token; the first generated token's own position is
computed one step later and decides the second. The last generated token is never computed: it has no routing.
"""

from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd

from probes.reading.content import WHOLE, content
from probes.reading.masks import token_mask
from workbench.errors import WorkbenchError, suggestion, tallied

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from workbench.store import Store

Tokens = Literal[
    "content", "prompt_content", "all", "prompt", "response", "last_prompt", "frame", "first_answer", "first_generated"
]
NAMES: tuple[str, ...] = get_args(Tokens)
_NEEDED = f"a name ({', '.join(NAMES)}) or one bool for each"
_NOT_ANSWER = ("think", "tool", "template", "special")
_NOT_FRAME = ("system", "template", "special")


def select(
    store: "Store", tokens: Tokens | np.ndarray, roles: "Iterable[str] | None" = None, used: np.ndarray | None = None
) -> np.ndarray:
    """Bool [rows of store.tokens]: the tokens to read.

    tokens  "content"          what was said: every routed token but the chat template's and special ones. A system prompt is
                               said where the prompt file has it, and the template's where the template adds it
            "prompt_content"   the part of it that was put in
            "all"              every routed token
            "prompt"           what was put in, template included
            "response"         what followed, generated or given
            "last_prompt"      the last prompt position, which decides the first generated token
            "frame"            prompt tokens whose id occurs in every used prompt: the sentence all share, such as "What
                               happened ... ?"; system and template roles are left out where the roles are known
            "first_answer"     the position that decides the first token of the answer: the one before the first response
                               token that is not thinking, tool, template, special or blank. Without thinking this is the last
                               prompt position, also where the store holds no response
            "first_generated"  the first response token's own position (MoTE's "first generated token" has no support in
                               what we could read)
            or a mask of your own over `store.tokens` (`probes.reading.token_mask`)
    roles   keep only tokens of these roles; they take the place of what content leaves out
    used    bool [prompts], which prompts "frame" must hold for; None for all
    """
    among = _mask(store, whole(tokens, roles), used)
    mask = among if roles is None else among & token_mask(store, roles=roles)
    if not mask.any():
        named = ", ".join([roles] if isinstance(roles, str) else roles or ())
        only = "" if roles is None else f" with role {named}" if named else ", since roles names none"
        there = store.tokens["role"][among if among.any() else slice(None)]
        raise WorkbenchError(
            f"No token of '{store.path}' is in tokens={describe(tokens, roles)!r}{only}; read other tokens: "
            f"{'their roles are' if among.any() else 'the store has'} {tallied(there, 9)}."
        )
    return mask


def whole(tokens: Any, roles: "Iterable[str] | None" = None) -> Any:
    """The set out of which `roles` choose: with roles, a set of content stands for the one with the template."""
    return tokens if roles is None or not isinstance(tokens, str) else WHOLE.get(tokens, tokens)


def describe(tokens: Tokens | np.ndarray, roles: "Iterable[str] | None" = None) -> str:
    """The name of the set that was read, or how many tokens a mask holds."""
    if isinstance(tokens, str):
        return whole(tokens, roles)
    mask = np.asarray(tokens)
    if mask.dtype != bool:
        raise WorkbenchError(f"tokens is an array of {mask.dtype}; it needs {_NEEDED} row of store.tokens.")
    return f"a mask of {int(mask.sum())} tokens"


def _mask(store: "Store", tokens: Tokens | np.ndarray, used: np.ndarray | None) -> np.ndarray:
    if not isinstance(tokens, str):
        mask = np.asarray(tokens)
        if mask.shape != (len(store.tokens),) or mask.dtype != bool:
            raise WorkbenchError(
                f"tokens has shape {list(mask.shape)} of {mask.dtype}; it needs {_NEEDED} of the {len(store.tokens)} rows of "
                f"store.tokens."
            )
        return mask
    if tokens == "frame":
        return _frame(store, np.ones(store.n_prompts, bool) if used is None else used)
    if tokens == "first_answer":
        return _first_answer(store)
    if tokens == "first_generated":
        return store.tokens["position"].to_numpy() == prompt_length(store)
    if tokens in WHOLE:
        return token_mask(store, WHOLE[tokens]) & content(store)  # pyright: ignore[reportArgumentType]
    if tokens in ("all", "prompt", "response", "last_prompt"):
        return token_mask(store, tokens)
    near = suggestion(tokens, list(NAMES)) or "."
    raise WorkbenchError(f"tokens='{tokens}' is not known; it can be {', '.join(_sizes(store))}{near}")


def _sizes(store: "Store") -> "Iterator[str]":
    """Every set with how many tokens it holds here."""
    for name in NAMES:
        try:
            yield f"{name} ({int(_mask(store, name, None).sum()):,})"  # pyright: ignore[reportArgumentType]
        except WorkbenchError:  # prompts that share no frame
            yield f"{name} (0)"


def prompt_of_row(store: "Store") -> np.ndarray:
    """[rows of store.tokens] prompt number."""
    return store.tokens["prompt_id"].cat.codes.to_numpy().astype(np.int64)


def sequence_of_row(store: "Store") -> np.ndarray:
    """[rows of store.tokens] number of the response: prompt number times samples, plus sample."""
    return prompt_of_row(store) * store.n_samples + store.tokens["sample"].to_numpy().astype(np.int64)


def prompt_length(store: "Store") -> np.ndarray:
    """[rows of store.tokens] how many tokens the row's prompt has."""
    return store.prompts["n_tokens"].to_numpy()[prompt_of_row(store)]


def _frame(store: "Store", used: np.ndarray) -> np.ndarray:
    tokens: Any = store.tokens
    if tokens["token_id"].isna().all():
        raise WorkbenchError(
            f"'{store.path}' was captured without text, so its sentence frame is unknown; read other tokens."
        )
    prompt = prompt_of_row(store)
    inside = token_mask(store, "prompt") & used[prompt]
    if tokens["role"].isin(["user"]).any():
        inside &= ~tokens["role"].isin(_NOT_FRAME).to_numpy()
    found = pd.DataFrame({"prompt": prompt[inside], "token_id": tokens["token_id"].to_numpy()[inside]})
    prompts_with: Any = found.drop_duplicates().groupby("token_id")["prompt"].size()
    common = prompts_with.index[prompts_with == int(used.sum())]
    if common.empty:
        raise WorkbenchError(
            f"No token is common to all {int(used.sum())} prompts, so there is no sentence frame; read tokens='prompt', or "
            f"choose prompts of one template with where=..."
        )
    return inside & tokens["token_id"].isin(common).to_numpy()


def _first_answer(store: "Store") -> np.ndarray:
    tokens: Any = store.tokens
    sequence = sequence_of_row(store)
    response = tokens["position"].to_numpy() >= prompt_length(store)
    blank = tokens["token"].fillna("x").str.strip().eq("").to_numpy()
    answer = response & ~tokens["role"].isin(_NOT_ANSWER).to_numpy() & ~blank
    first = np.flatnonzero(answer)
    first = first[np.unique(sequence[first], return_index=True)[1]]  # rows are in order of position
    mask = np.zeros(len(tokens), bool)
    mask[first - 1] = True
    silent = ~np.isin(sequence, sequence[response])
    return mask | (token_mask(store, "last_prompt") & silent)
