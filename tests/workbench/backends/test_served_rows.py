"""Routing that an engine sent, row by row: three layers of which 1 and 2 route, 5 experts, 2 selected; worked out by hand."""

import base64
import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.support.stores import anatomy
from workbench.backends import store_served
from workbench.backends.served_routing import routed_experts
from workbench.errors import WorkbenchError

ROUTED = [[[0, 4], [1, 2]], [[3, 2], [4, 0]], [[1, 0], [2, 3]]]  # 3 tokens were forwarded, of 2 + 2
DENSE = [[[0, 0], *row] for row in ROUTED]  # with the layer that does not route


def read(sent: Any, n: tuple[int, int] = (2, 2), *, filled: bool = False, top_k: int = 2, **more: Any) -> Any:
    found = routed_experts(anatomy(top_k=top_k), "a", {"routed_experts": sent, **more}, n, filled=filled)
    assert found.dtype == np.int64
    return found.tolist()


def refused(*args: Any, **how: Any) -> str:
    with pytest.raises(WorkbenchError) as caught:
        read(*args, **how)
    return str(caught.value)


def packed(array: Any, dtype: str = "int32") -> str:
    return base64.b64encode(np.asarray(array, dtype).tobytes()).decode()


def npy(array: Any) -> str:
    file = io.BytesIO()
    np.save(file, np.asarray(array, np.uint8))
    return base64.b64encode(file.getvalue()).decode()


@pytest.mark.parametrize("rows", [ROUTED, DENSE])
def test_every_form_is_the_same_routing(rows: Any) -> None:
    last = [[[4, 1]] * len(rows[0])]  # some engines send a row for the token that was never forwarded
    for sent in (
        rows,
        rows + last,
        np.array(rows, np.uint16),
        npy(rows),
        npy(rows + last),
        packed(rows),
        packed(rows + last),
    ):
        assert read(sent) == ROUTED
    assert read(packed(rows, "uint8"), dtype="uint8") == ROUTED
    assert read(np.array(rows).reshape(-1).tolist()) == ROUTED
    for cut in (rows[2:], rows[2:] + last):
        assert read(cut, prompt_routed_experts=rows[:2]) == ROUTED
        assert read(packed(cut), prompt_routed_experts=packed(rows[:2])) == ROUTED
    assert read(rows[:2], (2, 0)) == ROUTED[:2]
    assert read(rows[:2], (2, 1)) == ROUTED[:2]


def test_flat_numbers_of_two_shapes() -> None:
    """1 token of prompt and 2 of response: 3 rows of 2 layers or 2 rows of 3, whichever can be."""
    assert read(packed([0, 1, 2, 3, 3, 2, 1, 0, 4, 3, 2, 1]), (1, 2)) == [[[0, 1], [2, 3]], [[3, 2], [1, 0]]]
    assert read(packed([0, 0, 2, 3, 3, 2, 0, 0, 4, 3, 2, 1]), (1, 2)) == [[[2, 3], [3, 2]], [[4, 3], [2, 1]]]
    one = {"top_k": 1, "filled": True}
    assert read(packed([1, 2, 0, 3, 2, 1]), (1, 2), **one) == [[[1], [2]], [[0], [3]]]
    assert refused(packed([0, 4, 2, 0, 3, 1]), (1, 2), **one) == (
        "The routed_experts of 'a' are 6 flat integers, which may be (3, 2, 1) or (2, 3, 1) (tokens, layers, k), and both could "
        "be; send them as an array with its shape."
    )
    assert "routes 1 tokens of layer 1" in refused(
        packed([5, 4, 2, 0, 3, 1]), (1, 2), **one
    )  # neither can be: the first


@pytest.mark.parametrize(
    ("sent", "how", "said"),
    [
        (ROUTED[:2], {}, "The request 'a' has routing for 2 tokens, but 2 tokens of prompt and 2 of response, of which 3 were "
         "forwarded; pass the whole request (an engine may leave a cached prefix out)."),
        (ROUTED + ROUTED[:2], {}, "The request 'a' has routing for 5 tokens, but 2"),
        ([*ROUTED[:1], [[0, 1], [4, 4]], ROUTED[2]], {}, "The request 'a' routes 1 tokens of layer 2 to experts that cannot be "
         "([4, 4] at token 1): synthetic selects 2 different ones of 5; the engine returned no routing there (rows of zeros), or "
         "this is another model."),
        ([*ROUTED[:1], [[0, 5], [4, 1]], [[-1, 2], [0, 1]]], {}, "routes 2 tokens of layer 1 to experts that cannot "
         "be ([0, 5] at token 1)"),
        ([[[0, 1, 2], [2, 3, 4]]] * 3, {}, "routes 0 tokens of layer 1 to experts that cannot be ([0, 1, 2] at token 0)"),
        (np.array(ROUTED, float), {}, "The routed_experts of 'a' are float64 (3, 2, 2); synthetic has 3 layers, 2 of "
         "which route, so "
         "they should be integers [tokens, 2, k]."),
        ([[row[0]] for row in ROUTED], {}, "are int64 (3, 1, 2); synthetic has"),
        (ROUTED[0], {}, "are int64 (2, 2); synthetic has"),
        ([[1], [1, 2]], {}, "are object (1,); synthetic has"),
        ([1, 2, 3], {}, "are int64 (3,); synthetic has"),
        ("???", {}, "The routed_experts of 'a' are no base64 of an .npy or of int32s ("),
        (packed([1]), {"dtype": "nothing"}, "are no base64 of an .npy or of nothings ("),
        ([[[1]] * 2], {"prompt_routed_experts": ROUTED[:2]}, "The two parts of the routing of 'a' select different numbers of"),
    ],
)  # fmt: skip
def test_what_does_not_fit(sent: Any, how: dict[str, Any], said: str) -> None:
    found = refused(sent, **how)
    assert said in found if said[:3] != "The" else found.startswith(said)


def test_zeros_where_one_expert_is_selected() -> None:
    """Layer 1 always chose expert 0: by chance of 5**-8 at 8 tokens, too unlikely at 9."""
    rows = [[[0], [1 + i % 4]] for i in range(9)]
    assert len(read(rows[:8], (8, 0), top_k=1)) == 8
    end = (
        "of the request 'a' is zeros throughout, and synthetic selects one expert a layer: it may be expert 0, or rows that the "
        "engine left empty; pass filled=True if it fills every row, else leave the request out."
    )
    assert refused(rows, (9, 0), top_k=1) == f"The routing of layer 1 {end}"
    assert len(read(rows, (9, 0), top_k=1, filled=True)) == 9
    empty = [rows[0], [[0], [0]], rows[2]]
    assert refused(empty, (3, 0), top_k=1) == f"The routing of 1 of 3 tokens {end}"
    assert read(empty, (3, 0), top_k=1, filled=True) == empty
    assert read([[[1], [0]]] * 8, (8, 0), top_k=1)


REQUESTS = [
    {
        "id": "b",
        "prompt_ids": [3, 49],
        "response_ids": [5, 6],
        "routed_experts": ROUTED,
        "text": "two",
        "labels": {"k": 1},
    },
    {"prompt_ids": [8], "response_ids": [], "routed_experts": ROUTED[:1]},
]


def test_the_store_by_hand(tmp_path: Path) -> None:
    said = {3: "<think>", 49: "a", 5: "b", 6: "c", 8: "d"}
    tokenizer = SimpleNamespace(
        decode=lambda ids, **_: "".join(said[i] for i in ids), all_special_ids=[], convert_tokens_to_ids=lambda t: None
    )
    store = store_served(anatomy(), REQUESTS, tmp_path / "s", tokenizer=tokenizer)
    names = ["prompt_id", "text", "n_tokens"]
    assert store.prompts[names].astype(object).where(store.prompts[names].notna(), None).values.tolist() == [
        ["b", "two", 2],
        ["request-1", None, 1],
    ]
    columns = ["prompt_id", "sample", "position", "token_id", "token", "role", "generated"]
    assert store.tokens[columns].astype({"prompt_id": str, "role": str}).values.tolist() == [
        ["b", 0, 0, 3, "<think>", "unknown", False],
        ["b", 0, 1, 49, "a", "unknown", False],
        ["b", 0, 2, 5, "b", "unknown", True],
        ["b", 0, 3, 6, "c", "unknown", True],
        ["request-1", 0, 0, 8, "d", "unknown", False],
    ]
    slots = store.table("slots").astype({"prompt_id": str})
    wanted = [
        ["b" if t < 3 else "request-1", 0, t % 3, layer, slot, expert]
        for layer in (1, 2)
        for t, row in enumerate([*ROUTED, ROUTED[0]])
        for slot, expert in enumerate(row[layer - 1])
    ]
    found = slots[["prompt_id", "sample", "position", "layer", "slot", "expert"]].values.tolist()
    assert sorted(found) == sorted(wanted)
    assert store.labels[["prompt_id", "name", "value", "source"]].values.tolist() == [["b", "k", "1", "given"]]
    responses = store.table("responses").astype({"prompt_id": str})
    assert responses.values.tolist() == [["b", 0, "<think>bc"]], "the prompt opened the thought that goes on"
    bare = store_served(anatomy(), REQUESTS, tmp_path / "t")
    assert bare.tokens["token"].isna().all()
    assert not bare.has("responses")
    assert bare.untold == ("weight", "router_logits", "norms", "residual")


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ([1], "Request 1 is list; it should be an object with ('id', 'prompt_ids',"),
        ({"ids": 1}, "Request 1 has a key 'ids'"),
        ({"id": 7, "prompt_ids": [1]}, "The request '7' has no response_ids, routed_experts; serve with"),
        (REQUESTS[1] | {"prompt_ids": [50]}, "The prompt_ids of 'request-1' hold the token id 50, and synthetic knows 0-49; the"),
        (REQUESTS[1] | {"prompt_ids": [[1]]}, "The prompt_ids of 'request-1' should be a list of token ids, whole "
         "numbers from 0, not [[1]]."),
        (REQUESTS[1] | {"response_ids": [2**31]}, "The response_ids of 'request-1' should be a list of token ids"),
        (REQUESTS[1] | {"response_ids": [2**31 - 1]}, "hold the token id 2147483647, and"),
        (REQUESTS[1] | {"text": 3}, "The text of 'request-1' is int; it should be text."),
        (REQUESTS[1] | {"labels": 3}, "The 'labels' of the request 'request-1' should be"),
        (REQUESTS[1] | {"id": "b"}, "2 requests were given; a store needs one or more, each with an id of its own."),
    ],
)  # fmt: skip
def test_a_request_that_cannot_be(tmp_path: Path, request_: Any, said: str) -> None:
    with pytest.raises(WorkbenchError) as caught:
        store_served(anatomy(), [REQUESTS[0], request_], tmp_path / "s")
    assert str(caught.value).startswith(said) or said in str(caught.value)


def test_no_request(tmp_path: Path) -> None:
    with pytest.raises(WorkbenchError, match=r"^0 requests were given; a store needs one or more"):
        store_served(anatomy(), [], tmp_path / "s")
