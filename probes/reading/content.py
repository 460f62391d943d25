"""What people and the model say, apart from what a chat template puts around it; and how much that is.

A fixed template can be most of every prompt: a score over all tokens would rank the experts of its words. So probes that
count tokens read content by default, and say how many tokens they left out.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from probes.reading.masks import token_mask
from workbench.prompts import TEXT_HAS_NO_ROLES

if TYPE_CHECKING:
    from workbench.store import Store

TEMPLATE = ("template", "special")
"""Roles of tokens that nobody said: a template's own words, its default system prompt too, and markers of turns."""
WHOLE = {"content": "all", "prompt_content": "prompt"}
"""Of each set without the template, the set with it."""


def content(store: "Store") -> np.ndarray:
    """Bool [rows of store.tokens]: tokens that are neither a chat template's nor special; of unknown role, all."""
    tokens: Any = store.tokens
    return ~tokens["role"].isin(TEMPLATE).to_numpy(bool)


def template_notes(
    store: "Store", tokens: Any, roles: Any, among: np.ndarray, kept: np.ndarray | None = None
) -> tuple[str, ...]:
    """What to say of the template's tokens out of the rows `among`: left out, or read, and how to have it otherwise.

    kept  bool [rows], those of them that are read beside content
    """
    if roles is not None or not isinstance(tokens, str) or tokens not in (*WHOLE, *WHOLE.values()):
        return ()
    whole = token_mask(store, WHOLE.get(tokens, tokens)) & among & store.routed_tokens  # pyright: ignore[reportArgumentType]
    apart = whole & ~content(store)
    if kept is not None and tokens in WHOLE:
        apart &= ~kept
    return (*_set_apart(store, tokens, whole, apart), *_not_told(store, tokens, whole))


def _set_apart(store: "Store", tokens: str, whole: np.ndarray, apart: np.ndarray) -> tuple[str, ...]:
    roles: Any = store.tokens["role"]
    of_role = roles[apart].astype(str).value_counts()
    if of_role.empty:
        return ()
    said = f"{int(of_role.sum()):,} of {int(whole.sum()):,} tokens are the chat template's or special"
    said += f" ({', '.join(f'{n:,} {role}' for role, n in of_role.items())})"
    if tokens in WHOLE:
        decides = ", tokens=last_prompt the one that decides the answer" if tokens == "prompt_content" else ""
        return (f"{said} and were left out; tokens={WHOLE[tokens]} reads them too{decides}",)
    without = next(name for name, same in WHOLE.items() if same == tokens)
    return (f"{said} and were read; tokens={without} leaves them out",)


def _not_told(store: "Store", tokens: str, whole: np.ndarray) -> tuple[str, ...]:
    """Where nobody knows who said a token (plain text, a template that rewrites, an engine's ids), it was read as content."""
    roles: Any = store.tokens["role"]
    unknown = int((whole & (roles.isna() | roles.eq("unknown")).to_numpy(bool)).sum())
    if tokens not in WHOLE or not unknown:
        return ()
    of = f"{unknown:,} of {int(whole.sum()):,} tokens"
    why = [str(said) for said in store.manifest.get("warnings", []) if str(said).startswith("roles are unknown: ")]
    if why and all(TEXT_HAS_NO_ROLES in said for said in why):
        return (f"{of} are text without a chat template and were all read",)
    return (f"{of} may be the chat template's and were read: their roles are unknown",)
