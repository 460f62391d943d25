"""Decoded directions: a neuron that is made to write a word says so; what is refused."""

from pathlib import Path

import pytest
import torch

from probes import decode
from tests.probes.oracle.cases import golden
from tests.probes.oracle.memory import disk_store
from tests.probes.oracle.specialisation.checks import directions_of
from tests.probes.oracle.specialisation.directions import decoded
from tests.support.families import build
from workbench import capture, load
from workbench.errors import WorkbenchError
from workbench.loading import tiny_tokenizer


def test_neurons_that_are_made_to_read_and_write_a_word_come_first_and_the_two_are_named_apart(tmp_path: Path) -> None:
    hf, words = build("mixtral").hf, tiny_tokenizer()
    with torch.no_grad():
        experts = hf.model.layers[1].mlp.experts
        middle = experts.down_proj.shape[-1]
        experts.down_proj[3, :, 2] = 20 * hf.lm_head.weight[50]
        experts.gate_up_proj[5, middle + 4] = 20 * hf.lm_head.weight[60]
        experts.gate_up_proj[6, 1] = 20 * hf.lm_head.weight[70]
    store = capture(load(hf, words), [{"text": "a word"}], tmp_path / "s", keep={"directions"}, progress=False)
    for side, place, token in (("write", (3, 2), 50), ("read", (5, 4), 60), ("gate", (6, 1), 70)):
        row = decode(store, side=side, first=1).frame.iloc[0]  # pyright: ignore[reportArgumentType]
        assert (row["layer"], (row["expert"], row["neuron"]), row["token_id"]) == (1, place, token)
        assert row["token"] == words.decode([token])
        assert row["share"] > 0.9


def test_a_store_on_disk_gives_the_same(tmp_path: Path) -> None:
    case = decoded()
    store = disk_store(tmp_path / "s", case.anatomy, case.rows)
    assert directions_of(decode(store)) == directions_of(decode(case.store))
    assert directions_of(decode(store, of="experts")) == directions_of(decode(case.store, of="experts"))


def test_what_is_refused(tmp_path: Path) -> None:
    for how in ({"of": "all"}, {"side": "down"}, {"first": -1}):
        with pytest.raises(
            WorkbenchError, match="decode nothing; of is neurons, experts, side is write, read, gate, first"
        ):
            decode(decoded().store, **how)
    with pytest.raises(
        WorkbenchError, match=r"No direction of 'memory' \(write, neurons\) has the word 'dog' among its first"
    ):
        decode(decoded().store, token="dog")
    with pytest.raises(WorkbenchError, match="has no gate directions of experts: experts have no gate"):
        decode(decoded().store, of="experts", side="gate")
    with pytest.raises(WorkbenchError, match="kept no directions; capture it again with keep including 'directions'"):
        decode(disk_store(tmp_path / "s", golden().anatomy, golden().rows))
