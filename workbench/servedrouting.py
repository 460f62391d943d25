"""The routing of one served request as an array of experts, whatever form the engine sent it in; checked against its tokens."""

import base64
import binascii
import io
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from workbench.anatomy import Anatomy
from workbench.errors import WorkbenchError

_UNLIKELY = 1e-6  # that every token of a request chose one expert, by chance


def routed_experts(
    anatomy: Anatomy, name: str, request: Mapping[str, Any], n_tokens: tuple[int, int], *, filled: bool
) -> np.ndarray:
    """[forwarded tokens, layers that route, k] int64 of a request with `n_tokens` of prompt and response.

    filled  the engine left no row empty: zeros are expert 0
    Raises `WorkbenchError` naming the request whose routing does not fit, or may be read in two ways.
    """
    experts = _checked(anatomy, name, _experts(anatomy, name, request, *n_tokens), *n_tokens)
    if not filled:
        _check_filled(anatomy, name, experts)
    return experts


def as_array(sent: Any) -> np.ndarray:
    """Nested lists as an array; uneven ones become one of objects, which no check takes for numbers."""
    try:
        return np.asarray(sent)
    except (ValueError, OverflowError):
        return np.empty(1, object)


def _experts(anatomy: Anatomy, name: str, request: Mapping[str, Any], n_prompt: int, n_response: int) -> np.ndarray:
    """[tokens, layers that route, k], of the prompt and the response. An engine may send a row for the last token, or not."""
    dtype, ends = str(request.get("dtype", "int32")).removeprefix("torch."), {max(n_response - 1, 0), n_response}
    given, lengths = [request["routed_experts"]], [{n_prompt + n for n in ends}]
    if (apart := request.get("prompt_routed_experts")) is not None:
        given, lengths = [apart, *given], [{n_prompt}, ends]
    found = [_decoded(anatomy, name, part, dtype, n) for part, n in zip(given, lengths, strict=True)]
    if len({part.shape[2] for part in found}) > 1:
        raise WorkbenchError(f"The two parts of the routing of '{name}' select different numbers of experts a token.")
    return np.concatenate(found)


def _decoded(anatomy: Anatomy, name: str, sent: Any, dtype: str, lengths: Collection[int]) -> np.ndarray:
    """[tokens, layers that route, k]; `lengths` are the numbers of tokens that flat integers may be of."""
    if isinstance(sent, str):
        try:
            raw = base64.b64decode(sent, validate=True)
            sent = (
                np.load(io.BytesIO(raw), allow_pickle=False) if raw[:6] == b"\x93NUMPY" else np.frombuffer(raw, dtype)
            )
        except (binascii.Error, ValueError, TypeError) as error:
            raise WorkbenchError(
                f"The routed_experts of '{name}' are no base64 of an .npy or of {dtype}s ({error})."
            ) from error
    array, moe = as_array(sent), list(anatomy.moe_layers)
    top_k = {anatomy.layer(layer).top_k for layer in moe}
    if array.ndim == 1 and len(top_k) == 1:
        array = _shaped(anatomy, name, array, lengths, top_k.pop())
    if array.ndim != 3 or array.shape[1] not in (len(moe), len(anatomy.layers)) or array.dtype.kind not in "iu":
        raise WorkbenchError(
            f"The routed_experts of '{name}' are {array.dtype} {array.shape}; {anatomy.model} has {len(anatomy.layers)} layers, "
            f"{len(moe)} of which route, so they should be integers [tokens, {len(moe)}, k]."
        )
    return array.astype(np.int64) if array.shape[1] == len(moe) else array[:, moe].astype(np.int64)


def _shaped(anatomy: Anatomy, name: str, flat: np.ndarray, lengths: Collection[int], top_k: int) -> np.ndarray:
    """Flat integers as [tokens, layers, k]: all decoder layers or those that route, whichever fits the request's tokens.

    Where two shapes fit, the one whose every row can be a token's experts. Raises `WorkbenchError` where both can.
    """
    layers = {len(anatomy.layers), len(anatomy.moe_layers)}
    shapes = [(t, n, top_k) for n in sorted(layers) for t in sorted(lengths) if t * n * top_k == len(flat)]
    if len(shapes) > 1 and len(flat):
        shapes = [s for s in shapes if _can_be(anatomy, flat.reshape(s))] or shapes[:1]
    if len(shapes) > 1 and len(flat):
        raise WorkbenchError(
            f"The routed_experts of '{name}' are {len(flat)} flat integers, which may be {' or '.join(map(str, shapes))} "
            f"(tokens, layers, k), and both could be; send them as an array with its shape."
        )
    return flat.reshape(shapes[0]) if shapes else flat


def _can_be(anatomy: Anatomy, experts: np.ndarray) -> bool:
    """Whether every row can be a token's experts; layers that do not route are sent as zeros."""
    moe = list(anatomy.moe_layers)
    routed = experts if experts.shape[1] == len(moe) else experts[:, moe]
    dense = np.delete(experts, moe, 1) if experts.shape[1] != len(moe) else experts[:, :0]
    wrong = (_wrong(anatomy.layer(layer).n_experts, routed[:, i]).any() for i, layer in enumerate(moe))
    return not dense.any() and not any(wrong)


def _wrong(n_experts: int, chosen: np.ndarray) -> np.ndarray:
    """[tokens] whether the row of experts cannot be: one that does not exist, or the same twice."""
    repeated = (np.diff(np.sort(chosen, -1), axis=-1) == 0).any(-1)
    return (chosen < 0).any(-1) | (chosen >= n_experts).any(-1) | repeated


def _check_filled(anatomy: Anatomy, name: str, experts: np.ndarray) -> None:
    """Rows of zeros, where a layer's one expert may be 0: that the engine left them empty shows in no other way."""
    if experts.shape[2] != 1 or not len(experts):
        return
    rows: Any = experts
    empty = ~rows.any((1, 2))
    unlikely = float(anatomy.layer(anatomy.moe_layers[0]).n_experts) ** -len(experts) < _UNLIKELY
    layers = [n for n, zero in zip(anatomy.moe_layers, ~rows.any((0, 2)), strict=True) if zero and unlikely]
    if empty.any() or layers:
        what = f"{int(empty.sum())} of {len(empty)} tokens" if empty.any() else f"layer {layers[0]}"
        raise WorkbenchError(
            f"The routing of {what} of the request '{name}' is zeros throughout, and {anatomy.model} selects one expert a layer: "
            f"it may be expert 0, or rows that the engine left empty; pass filled=True if it fills every row, else leave the "
            f"request out."
        )


def _checked(anatomy: Anatomy, name: str, experts: np.ndarray, n_prompt: int, n_response: int) -> np.ndarray:
    forwarded = n_prompt + max(n_response - 1, 0)
    if len(experts) not in (forwarded, n_prompt + n_response):
        raise WorkbenchError(
            f"The request '{name}' has routing for {len(experts)} tokens, but {n_prompt} tokens of prompt and {n_response} of "
            f"response, of which {forwarded} were forwarded; pass the whole request (an engine may leave a cached prefix out)."
        )
    experts = experts[:forwarded]
    for column, layer in enumerate(anatomy.moe_layers):
        shape, chosen = anatomy.layer(layer), experts[:, column]
        wrong = _wrong(shape.n_experts, chosen)
        if chosen.shape[1] != shape.top_k or wrong.any():
            first = chosen[wrong.argmax()].tolist()
            raise WorkbenchError(
                f"The request '{name}' routes {int(wrong.sum())} tokens of layer {layer} to experts that cannot be ({first} at "
                f"token {int(wrong.argmax())}): {anatomy.model} selects {shape.top_k} different ones of {shape.n_experts}; the "
                f"engine returned no routing there (rows of zeros), or this is another model."
            )
    return experts
