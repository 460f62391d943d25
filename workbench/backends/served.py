"""Routing that a serving engine returned with its answers, as a store: vLLM's and SGLang's `routed_experts`.

They return the ids of the selected experts alone: no weights, no router logits, no sizes. The store holds null there, says
so in `info()`, and refuses to sum weights. Which token is which comes from the ids that the engine returns beside them.

    vLLM    serve --enable-return-routed-experts; a request with return_token_ids
    SGLang  serve --enable-return-routed-experts; a request with return_routed_experts
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from workbench.anatomy import Anatomy
from workbench.backends.served_routing import as_array, routed_experts
from workbench.errors import WorkbenchError, suggestion
from workbench.prompts import labels_of
from workbench.store import Store, write_store
from workbench.thinking import opened_in, said

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
    if tokenizer is not None:
        tables["responses"] = pd.DataFrame([_response(r, tokenizer) for r in found if r.response], columns=_RESPONSE)
    labels = [{"prompt_id": r.id, "name": n, "value": v, "source": "given"} for r in found for n, v in r.labels.items()]
    return write_store(into, anatomy, tables | ({"labels": pd.DataFrame(labels)} if labels else {}), lacks=LACKS)


def _read(anatomy: Anatomy, number: int, request: Mapping[str, Any], filled: bool) -> _Request:
    if not isinstance(request, Mapping):
        raise WorkbenchError(f"Request {number} is {type(request).__name__}; it should be an object with {_KEYS}.")
    for key in request:
        if key not in _KEYS:
            raise WorkbenchError(
                f"Request {number} has a key '{key}'{suggestion(key, list(_KEYS)) or ';'} the keys are {', '.join(_KEYS)}."
            )
    missing = [key for key in ("prompt_ids", "response_ids", "routed_experts") if request.get(key) is None]
    name = f"request-{number}" if request.get("id") is None else str(request["id"])
    if missing:
        raise WorkbenchError(
            f"The request '{name}' has no {', '.join(missing)}; serve with --enable-return-routed-experts and ask for token ids."
        )
    prompt, response = (_ids(anatomy, name, key, request[key]) for key in ("prompt_ids", "response_ids"))
    experts = routed_experts(anatomy, name, request, (len(prompt), len(response)), filled=filled)
    text = request.get("text")
    if not isinstance(text, str | None):
        raise WorkbenchError(f"The text of '{name}' is {type(text).__name__}; it should be text.")
    return _Request(name, prompt, response, experts, labels_of(request.get("labels"), f"the request '{name}'"), text)


def _ids(anatomy: Anatomy, name: str, key: str, sent: Any) -> list[int]:
    array = as_array(sent)
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
    return {"prompt_id": request.id, "sample": 0, "text": said(tokenizer, [request.response], [opened])[0]}


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
