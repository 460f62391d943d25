"""Routing that a serving engine returned with its answers, as a store: vLLM's and SGLang's `routed_experts`.

They return the ids of the selected experts alone: no weights, no router logits, no sizes. The store holds null there, says
so in `info()`, and refuses to sum weights. Which token is which comes from the ids that the engine returns beside them.

    vLLM    serve --enable-return-routed-experts; a request with return_token_ids
    SGLang  serve --enable-return-routed-experts; a request with return_routed_experts
"""

import base64
import binascii
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from workbench.anatomy import Anatomy
from workbench.errors import WorkbenchError, suggestion
from workbench.pieces import said
from workbench.reading import opened_in
from workbench.store import Store
from workbench.writing import write_store

LACKS = ("weight", "router_logits", "norms", "residual")
_RESPONSE = ["prompt_id", "sample", "text"]
_KEYS = ("id", "prompt_ids", "response_ids", "routed_experts", "prompt_routed_experts", "dtype", "labels", "text")


class _Request(NamedTuple):
    id: str
    prompt: list[int]
    response: list[int]
    experts: np.ndarray
    labels: Mapping[str, str]
    text: str | None


def store_served(
    anatomy: Anatomy, requests: Iterable[Mapping[str, Any]], into: str | Path, *, tokenizer: Any = None
) -> Store:
    """Writes what an engine returned for each request as a store of expert ids.

    requests   each with `id`, `prompt_ids`, `response_ids`, `routed_experts` and, if wanted, `text` and `labels`.
               `routed_experts` is what the engine sent: an array [tokens, layers, k] or nested lists; base64 of an .npy
               (vLLM over HTTP) or of flat integers (SGLang; `dtype`, its routed_experts_dtype, is int32 unless given). vLLM
               before 0.22 sends the prompt's apart, as `prompt_routed_experts`. Layers are all decoder layers, or those that
               route
    tokenizer  to keep the tokens' texts; None keeps their ids alone

    The last token of a response was never forwarded, and has no routing. Raises `WorkbenchError` naming the request whose
    routing does not fit its tokens or the model.
    """
    found = [_read(anatomy, number, request) for number, request in enumerate(requests)]
    if not found or len({r.id for r in found}) != len(found):
        raise WorkbenchError(
            f"{len(found)} requests were given; a store needs one or more, each with an id of its own."
        )
    tables = {
        "prompts": pd.DataFrame([{"prompt_id": r.id, "text": r.text, "n_tokens": len(r.prompt)} for r in found]),
        "tokens": pd.concat([_tokens(r, tokenizer) for r in found], ignore_index=True),
        "slots": pd.concat([_slots(anatomy, r) for r in found], ignore_index=True),
    }
    if tokenizer is not None:
        tables["responses"] = pd.DataFrame([_response(r, tokenizer) for r in found if r.response], columns=_RESPONSE)
    labels = [{"prompt_id": r.id, "name": n, "value": v, "source": "given"} for r in found for n, v in r.labels.items()]
    return write_store(into, anatomy, tables | ({"labels": pd.DataFrame(labels)} if labels else {}), lacks=LACKS)


def _read(anatomy: Anatomy, number: int, request: Mapping[str, Any]) -> _Request:
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
    parts = [request.get("prompt_routed_experts"), request["routed_experts"]]
    experts = [_decoded(anatomy, name, part, request.get("dtype", "int32")) for part in parts if part is not None]
    joined = _checked(anatomy, name, np.concatenate(experts), len(prompt), len(response))
    return _Request(name, prompt, response, joined, request.get("labels", {}), request.get("text"))


def _ids(anatomy: Anatomy, name: str, key: str, sent: Any) -> list[int]:
    array = np.asarray(sent) if np.size(sent) else np.zeros(0, int)
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


def _decoded(anatomy: Anatomy, name: str, sent: Any, dtype: str) -> np.ndarray:
    """[tokens, layers that route, k]."""
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
    array, moe = np.asarray(sent), list(anatomy.moe_layers)
    top_k = {anatomy.layer(layer).top_k for layer in moe}
    if array.ndim == 1 and len(top_k) == 1:
        array = _shaped(array, (len(anatomy.layers), len(moe)), top_k.pop())
    if array.ndim != 3 or array.shape[1] not in (len(moe), len(anatomy.layers)) or array.dtype.kind not in "iu":
        raise WorkbenchError(
            f"The routed_experts of '{name}' are {array.dtype} {array.shape}; {anatomy.model} has {len(anatomy.layers)} layers, "
            f"{len(moe)} of which route, so they should be integers [tokens, {len(moe)}, k]."
        )
    return array.astype(np.int64) if array.shape[1] == len(moe) else array[:, moe].astype(np.int64)


def _shaped(flat: np.ndarray, layers: Sequence[int], top_k: int) -> np.ndarray:
    """Flat integers, for the first number of layers that they can be cut into."""
    fits = [n for n in layers if len(flat) % (n * top_k) == 0]
    return flat.reshape(-1, fits[0], top_k) if fits else flat


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
        repeated = (np.diff(np.sort(chosen, -1), axis=-1) == 0).any(-1)
        wrong = (chosen < 0).any(-1) | (chosen >= shape.n_experts).any(-1) | repeated
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


def _response(request: _Request, tokenizer: Any) -> dict[str, Any]:
    opened = opened_in(tokenizer.decode(request.prompt))
    return {"prompt_id": request.id, "sample": 0, "text": said(tokenizer, request.response, opened)}


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
