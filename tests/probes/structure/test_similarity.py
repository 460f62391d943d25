"""Experts of a layer that are known to be alike, what cosines do not see, and what is refused and said before it starts."""

from pathlib import Path

import numpy as np
import pytest
import torch

from probes import similarity
from tests.probes.oracle.cases import golden
from tests.probes.oracle.memory import disk_store
from tests.probes.oracle.structure.cases import alike, enriched
from tests.probes.oracle.structure.checks import pairs
from tests.support.families import build
from workbench import Store, capture, load
from workbench.errors import WorkbenchError
from workbench.loading import tiny_tokenizer

WAYS = ["router", "logits", "outputs", "cka", "weights"]
TEXTS = [{"id": str(i), "text": text} for i, text in enumerate(["a few words", "and others, more of them", "x y z"])]


@pytest.fixture(scope="module")
def doubled(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A model whose experts 4-7 of every layer are 0-3 once more, row of the router included."""
    hf = build("mixtral").hf
    with torch.no_grad():
        for layer in hf.model.layers:
            for weight in (layer.mlp.gate.weight, layer.mlp.experts.gate_up_proj, layer.mlp.experts.down_proj):
                weight[4:] = weight[:4]
    keep = {"routers", "logits", "outputs", "alignments"}
    return capture(
        load(hf, tiny_tokenizer()), TEXTS, tmp_path_factory.mktemp("doubled") / "s", keep=keep, progress=False
    )


@pytest.mark.parametrize("by", WAYS)
def test_a_copy_of_a_layer_s_experts_has_similarity_one(doubled: Store, by: str) -> None:
    found = similarity(doubled, by=by, first=0, threshold=0.999, tokens="all")  # pyright: ignore[reportArgumentType]
    got, seen = pairs(found, "similarity", "n"), 0
    for layer in doubled.layers:
        for e in range(4):
            value, n = got[layer, e, layer, e + 4]
            assert (value is None and n < 4) or value == pytest.approx(1, abs=1e-5)
            seen += value is not None
    assert seen >= 4, "top-2 of equal logits: the copies are selected together"


def test_a_layer_of_copies_is_half_redundant(doubled: Store) -> None:
    found = similarity(doubled, threshold=0.999)
    assert [note.endswith("redundancy 0.50") for note in found.notes if "redundancy" in note] == [True] * len(
        doubled.layers
    )
    assert "L0E0 L0E4" in found.notes[1]


def test_the_size_of_a_row_says_nothing_and_what_all_share_is_taken_off() -> None:
    case, other = alike(), alike()
    for e, row in enumerate(other.rows["routers"]):
        row["row"] = [(e + 1) * x for x in row["row"]]
    assert pairs(similarity(case.store, first=0), "cosine") == pairs(similarity(other.store, first=0), "cosine")
    shifted = alike()
    for row in shifted.rows["routers"]:
        row["row"] = [x + 5 for x in row["row"]]
    got, own = (pairs(similarity(x.store, first=0, centred=True), "cosine") for x in (shifted, case))
    assert {pair: value[0] for pair, value in got.items()} == pytest.approx(
        {pair: value[0] for pair, value in own.items()}
    )
    assert pairs(similarity(shifted.store, first=0), "cosine") != pairs(similarity(case.store, first=0), "cosine")


def test_logits_do_not_see_what_a_token_adds_to_all_where_they_are_centred() -> None:
    case, other = enriched(golden()), enriched(golden())
    for i, row in enumerate(other.rows["logits"]):
        row["router_logits"] = [x + 4 * i for x in row["router_logits"]]
    got, own = (pairs(similarity(x.store, by="logits", first=0, centred=True), "cosine") for x in (other, case))
    assert {k: v[0] for k, v in got.items()} == pytest.approx({k: v[0] for k, v in own.items()}, abs=1e-5)


def test_a_chain_of_alike_experts_is_one_group() -> None:
    case = alike()
    turn = {e: np.deg2rad(20 * e) for e in range(5)}
    for row in case.rows["routers"]:
        row["row"] = [np.cos(turn[row["expert"]]), np.sin(turn[row["expert"]]), 0]
    found = similarity(case.store, threshold=0.93, first=0)  # 20 degrees: 0.9397; 40: 0.766
    assert pairs(found, "group")[2, 0, 2, 4] == (0,)
    assert found.notes[2].endswith("L2E0 L2E1 L2E2 L2E3 L2E4; redundancy 0.80")
    assert similarity(case.store, threshold=0.95).notes[2].endswith("no two experts reach 0.95")


def test_experts_that_nobody_selects_together_cannot_be_compared() -> None:
    case = alike()
    case.rows["outputs"] = [row for row in case.rows["outputs"] if row["expert"] == 0]
    found = similarity(case.store, by="outputs", first=0)
    assert found.frame["cosine"].isna().all()
    assert not found.frame["n"].any()
    assert "layer 1: no two experts can be compared" in found.notes


def test_first_keeps_the_most_alike(doubled: Store) -> None:
    whole, few = similarity(doubled, first=0).frame, similarity(doubled, first=3).frame
    assert len(whole) == 28 * len(doubled.layers)
    assert few.equals(whole.head(3))


def test_what_is_refused(tmp_path: Path, doubled: Store) -> None:
    for how in ({"by": "names"}, {"threshold": 1.5}, {"first": -1}):
        with pytest.raises(
            WorkbenchError,
            match="compare no experts; by is router, logits, outputs, cka, weights, threshold a cosine from -1",
        ):
            similarity(doubled, **how)
    store = disk_store(tmp_path / "s", golden().anatomy, golden().rows)
    for by, table in zip(WAYS, ("routers", "logits", "outputs", "outputs", "alignments"), strict=True):
        with pytest.raises(
            WorkbenchError, match=f"kept no {table}; capture it again with keep including '{table}', or ask by"
        ):
            similarity(store, by=by)  # pyright: ignore[reportArgumentType]
    with pytest.raises(
        WorkbenchError, match=r"^\d+ pairs of experts over \d+ tokens: .* over limit_mb=0; capture fewer layers"
    ):
        similarity(doubled, by="outputs", limit_mb=0)
