"""Single experts switched off one by one: which are drawn, what is measured, and that what was measured is not measured again."""

import numpy as np
import pandas as pd
import pytest
import torch
from predicting import real, singles
from predicting.singles import Read, drawn, effects
from predicting.texts import EACH, KINDS, LENGTH, texts
from smollm2.documents import Document

from workbench import ExpertRef, Plan, load, steered
from workbench.factorization.distilling import is_held_out


@pytest.fixture(scope="module")
def model():
    return load("demo")


def made(tokenizer, kind, n):
    """Documents of a kind that are held out, of LENGTH tokens and more."""
    words = {"code": "write a program that prints", "german": "was ist das", "prose": "once there was a story of"}[kind]
    numbered = (Document(kind, f"{i} {words} {i} " * LENGTH) for i in range(100_000))
    found = (document for document in numbered if is_held_out(document.text))
    return [next(found) for _ in range(n)]


@pytest.fixture(scope="module")
def documents(model):
    return [document for kind in KINDS for document in made(model.tokenizer, kind, 2 * EACH)]


def test_two_of_every_level_of_load_in_every_band_of_layers():
    load_ = np.random.default_rng(0).random((30, 28))
    found = drawn(load_)
    assert len(set(found)) == len(found) == 100
    for band in range(10):
        own = [ref for ref in found if ref.layer // 3 == band]
        order = load_[3 * band : 3 * band + 3].ravel().argsort().argsort().reshape(3, 28)
        levels = sorted(int(order[ref.layer % 3, ref.expert] * 5 // 84) for ref in own)
        assert levels == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert drawn(load_) == found
    assert drawn(load_, seed=1) != found


def test_the_loss_is_that_of_the_family_itself(model):
    ids = torch.randint(5, 100, (11, 20), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        own = [float(model.hf(row[None], labels=row[None]).loss) for row in ids]
    assert Read(model, ids).bare == pytest.approx(own, abs=1e-5)


def test_from_a_layer_on_is_as_from_the_first(model):
    ids = torch.randint(5, 100, (11, 20), generator=torch.Generator().manual_seed(0))
    read = Read(model, ids)
    for layer in model.anatomy.moe_layers:
        with steered(model, Plan.off([ExpertRef(layer, 3)])), torch.no_grad():
            own = [float(model.hf(row[None], labels=row[None]).loss) for row in ids]
            assert read.nats(layer) == pytest.approx(own, abs=1e-5)
        assert read.nats(layer) == pytest.approx(read.bare, abs=1e-5)


def test_what_was_measured_is_not_measured_again(model, tmp_path, monkeypatch):
    ids = {"code": torch.randint(5, 100, (3, 16), generator=torch.Generator().manual_seed(0))}
    two = [ExpertRef(0, 3), ExpertRef(2, 5)]
    kept = tmp_path / "kept.parquet"
    first = effects(model, two[:1], ids, kept)
    with steered(model, Plan.off(two[:1])):
        off = Read(model, ids["code"]).bare
    assert first["nats"].to_numpy() == pytest.approx(off - Read(model, ids["code"]).bare, abs=1e-5)
    asked = []
    monkeypatch.setattr(singles, "steered", lambda model, plan: asked.append(plan) or steered(model, plan))
    both = effects(model, two, ids, kept)
    assert asked == [Plan.off(two[1:])]
    pd.testing.assert_frame_equal(both[:3], first)
    pd.testing.assert_frame_equal(pd.read_parquet(kept), both)
    assert both[3:]["expert"].tolist() == [5, 5, 5]


def test_no_document_is_in_both_parts(model, documents):
    found = texts(model.tokenizer, documents)
    rows = {kind: {tuple(row) for row in ids.tolist()} for kind, ids in found.rows.items()}
    prompts = [(prompt.labels["kind"], tuple(model.tokenizer(prompt.text).input_ids)) for prompt in found.prompts]
    assert {kind: len(own) for kind, own in rows.items()} == dict.fromkeys(KINDS, EACH)
    assert len(prompts) == 3 * EACH
    assert not any(ids[:LENGTH] in rows[kind] for kind, ids in prompts)


def test_too_few_documents(model, documents):
    with pytest.raises(SystemExit, match=f"of kind 'prose' have {LENGTH} tokens; {2 * EACH} are needed"):
        texts(model.tokenizer, documents[:-1])


def test_a_model_measured_whole(model, documents, tmp_path, monkeypatch):
    monkeypatch.setattr(real, "documents", lambda packages: documents)
    monkeypatch.setattr(singles, "LEVELS", 2)
    figures = real.measure("demo", tmp_path, tmp_path / "out")
    assert figures["tokens"] == dict.fromkeys(KINDS, EACH * (LENGTH - 1))
    own = figures["kinds"]["german"]
    assert own["experts"] == 2 * 2 * len(model.anatomy.moe_layers)
    kept = pd.read_parquet(tmp_path / "out" / "demo.parquet")
    kept["nats"] = kept["nats"].astype("float64")
    worst = kept[kept["kind"] == "german"].groupby(["layer", "expert"])["nats"].mean().idxmax()
    assert tuple(own["worst"][0][:2]) == worst
    assert {name for group in figures["clusters"] for name in group} >= {"usage", "ftri", "npmi"}
    assert "ftri" in own["told"]
    assert "token id alone" in own["told"]


def test_what_was_measured_of_other_weights_is_taken_away(tmp_path):
    path, ours, other = tmp_path / "demo.json", tmp_path / "demo-scores.parquet", tmp_path / "else.parquet"
    assert real.begun(path, "aa") == {"weights": "aa"}
    for file in (ours, other):
        file.touch()
    real.begun(path, "aa")
    assert ours.exists()
    real.begun(path, "bb")
    assert not ours.exists()
    assert other.exists()
