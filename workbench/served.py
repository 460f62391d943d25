"""Routing that a serving engine returned with its answers, as a store: vLLM's and SGLang's `routed_experts`.

They return the ids of the selected experts alone: no weights, no router logits, no sizes. The store holds null there, says
so in `info()`, and refuses to sum weights. Which token is which comes from the ids that the engine returns beside them.

    vLLM    serve --enable-return-routed-experts; a request with return_token_ids
    SGLang  serve --enable-return-routed-experts; a request with return_routed_experts
"""

import base64
import binascii
import io
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from workbench.anatomy import Anatomy
from workbench.errors import WorkbenchError, suggestion
from workbench.prompts import labels_of
from workbench.store import Store
from workbench.writing import write_store

LACKS = ("weight", "router_logits", "norms", "residual")
_UNLIKELY = 1e-6  # that every token of a request chose one expert, by chance
_KEYS = ("id", "prompt_ids", "response_ids", "routed_experts", "prompt_routed_experts", "dtype", "labels", "text")


class _Request(NamedTuple):
    id: str
    prompt: list[int]
    response: list[int]
    experts: np.ndarray
    labels: Mapping[str, str]
    text: str | None


def store_served(
    anatomy: Anatomy,
    requests: Iterable[Mapping[str, Any]],
    into: str | Path,
    *,
    tokenizer: Any = None,
    filled: bool = False,
) -> Store:
    """Writes what an engine returned for each request as a store of expert ids.

    requests   each with `id`, `prompt_ids`, `response_ids`, `routed_experts` and, if wanted, `text` and `labels`.
               `routed_experts` is what the engine sent: an array [tokens, layers, k] or nested lists; base64 of an .npy
               (vLLM over HTTP) or of flat integers (SGLang; `dtype`, its routed_experts_dtype, is int32 unless given). vLLM
               before 0.22 sends the prompt's apart, as `prompt_routed_experts`. Layers are all decoder layers, or those that
               route
    tokenizer  to keep the tokens' texts; None keeps their ids alone
    filled     True: the engine filled every row. Where a layer selects one expert, a token of zeros in every layer is either
               one that chose expert 0 everywhere or a row that the engine left empty, and is refused unless you say so

    The last token of a response was never forwarded, and has no routing. Raises `WorkbenchError` naming the request whose
    routing does not fit its tokens or the model.
    """
    found = [_read(anatomy, number, request, filled) for number, request in enumerate(requests)]
    if not found or len({r.id for r in found}) != len(found):
        raise WorkbenchError(
            f"{len(found)} requests were given; a store needs one or more, each with an id of its own."
        )
    tables = {
        "prompts": pd.DataFrame([{"prompt_id": r.id, "text": r.text, "n_tokens": len(r.prompt)} for r in found]),
        "tokens": pd.concat([_tokens(r, tokenizer) for r in found], ignore_index=True),
        "slots": pd.concat([_slots(anatomy, r) for r in found], ignore_index=True),
    }
    labels = [{"prompt_id": r.id, "name": n, "value": v, "source": "given"} for r in found for n, v in r.labels.items()]
    return write_store(into, anatomy, tables | ({"labels": pd.DataFrame(labels)} if labels else {}), lacks=LACKS)


def _read(anatomy: Anatomy, number: int, request: Mapping[str, Any], filled: bool) -> _Request:
    if not isinstance(request, Mapping):
        raise WorkbenchError(f"Request {number} is {type(request).__name__}; it should be an object with {_KEYS}.")
    for key in request:
        if key not in _KEYS:
            raise WorkbenchError(f"Request {number} has a key '{key}'{suggestion(key, list(_KEYS)) or ','} of {_KEYS}.")
    missing = [key for key in ("prompt_ids", "response_ids", "routed_experts") if request.get(key) is None]
    name = f"request-{number}" if request.get("id") is None else str(request["id"])
    if missing:
        raise WorkbenchError(
            f"The request '{name}' has no {', '.join(missing)}; serve with --enable-return-routed-experts and ask for token ids."
        )
    prompt, response = (_ids(anatomy, name, key, request[key]) for key in ("prompt_ids", "response_ids"))
    experts = _experts(anatomy, name, request, len(prompt), len(response))
    joined = _checked(anatomy, name, experts, len(prompt), len(response))
    if not filled:
        _check_filled(anatomy, name, joined)
    text = request.get("text")
    if not isinstance(text, str | None):
        raise WorkbenchError(f"The text of '{name}' is {type(text).__name__}; it should be text.")
    return _Request(name, prompt, response, joined, labels_of(request.get("labels"), f"the request '{name}'"), text)


def _experts(anatomy: Anatomy, name: str, request: Mapping[str, Any], n_prompt: int, n_response: int) -> np.ndarray:
    """[tokens, layers that route, k], of the prompt and the response. An engine may send a row for the last token, or not."""
    dtype, ends = str(request.get("dtype", "int32")), {max(n_response - 1, 0), n_response}
    given, lengths = [request["routed_experts"]], [{n_prompt + n for n in ends}]
    if (apart := request.get("prompt_routed_experts")) is not None:
        given, lengths = [apart, *given], [{n_prompt}, ends]
    found = [_decoded(anatomy, name, part, dtype, n) for part, n in zip(given, lengths, strict=True)]
    if len({part.shape[2] for part in found}) > 1:
        raise WorkbenchError(f"The two parts of the routing of '{name}' select different numbers of experts a token.")
    return np.concatenate(found)


def _ids(anatomy: Anatomy, name: str, key: str, sent: Any) -> list[int]:
    array = _array(sent)
    array = array if array.size else np.zeros(0, int)
    if array.ndim != 1 or array.dtype.kind not in "iu" or not np.all((array >= 0) & (array < 2**31)):
        raise WorkbenchError(
            f"The {key} of '{name}' should be a list of token ids, whole numbers from 0, not {sent!r:.40}."
        )
    if len(array) and array.max() >= anatomy.vocab_size:
        raise WorkbenchError(
            f"The {key} of '{name}' hold the token id {array.max()}, and {anatomy.model} knows 0-{anatomy.vocab_size - 1}; the "
            f"requests are another model's."
        )
    return array.tolist()


def _array(sent: Any) -> np.ndarray:
    """Nested lists as an array; uneven ones become one of objects, which no check takes for numbers."""
    try:
        return np.asarray(sent)
    except (ValueError, OverflowError):
        return np.empty(1, object)


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
    array, moe = _array(sent), list(anatomy.moe_layers)
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
    empty = ~experts.any((1, 2))
    unlikely = float(anatomy.layer(anatomy.moe_layers[0]).n_experts) ** -len(experts) < _UNLIKELY
    layers = [n for n, zero in zip(anatomy.moe_layers, ~experts.any((0, 2)), strict=True) if zero and unlikely]
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


def _tokens(request: _Request, tokenizer: Any) -> pd.DataFrame:
    ids, n = request.prompt + request.response, len(request.prompt)
    return pd.DataFrame(
        {
            "prompt_id": request.id,
            "sample": 0,
            "position": np.arange(len(ids)),
            "token_id": ids,
            "token": None if tokenizer is None else [tokenizer.decode([i]) for i in ids],
            "role": "unknown",
            "generated": np.arange(len(ids)) >= n,
        }
    )


def _slots(anatomy: Anatomy, request: _Request) -> pd.DataFrame:
    tokens, layers, k = request.experts.shape
    position, layer, slot = np.indices((tokens, layers, k)).reshape(3, -1)
    return pd.DataFrame(
        {
            "prompt_id": request.id,
            "sample": 0,
            "position": position,
            "layer": np.asarray(anatomy.moe_layers)[layer],
            "slot": slot,
            "expert": request.experts.reshape(-1),
        }
    )
