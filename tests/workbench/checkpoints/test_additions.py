"""The file of what training added: read as it was written, and refused where it cannot be."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.workbench.checkpoints.world import EXPERTS, LAYERS, SHARED, TOP_K, added, checkpoint, dense
from workbench import WorkbenchError
from workbench.checkpoints import Additions, Base, Checkpoint, read_additions, read_checkpoint, write_additions
from workbench.checkpoints.additions import check_fit
from workbench.checkpoints.cached import made_from
from workbench.checkpoints.checkpoint import stated

MODEL = dense()
WHOLE = added(MODEL)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=70),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=9), inner, max_size=2),
    max_leaves=3,
)
quick = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def refusal(tensors: dict[str, Tensor], experts: int = EXPERTS, shared: int = SHARED) -> str:
    with pytest.raises(WorkbenchError) as refused:
        check_fit(MODEL, Additions(experts, shared, TOP_K, tensors))
    return str(refused.value)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    written = checkpoint(tmp_path, WHOLE)
    found = read_checkpoint(tmp_path / "tiny-moe")
    assert found == written
    tensors = read_additions(found).tensors
    assert set(tensors) == set(WHOLE)
    assert all(torch.equal(tensors[name], WHOLE[name]) and tensors[name].dtype == WHOLE[name].dtype for name in WHOLE)
    check_fit(MODEL, read_additions(found))


def based(tmp_path: Path, own: dict[str, Tensor], **other: Any) -> Checkpoint:
    """A checkpoint `more` beside tiny-moe, of which it is a part; other: what it says of that."""
    base = checkpoint(tmp_path, {name: x for name, x in WHOLE.items() if name not in own})
    about = Base(other.pop("name", base.name), other.pop("tensors", base.tensors))
    return write_additions(base._replace(name="more", folder=tmp_path / "more", base=about, **other), own)


def test_the_additions_of_a_base_hold_as_well(tmp_path: Path) -> None:
    name = next(name for name in WHOLE if name.endswith("norm.weight"))
    made = read_checkpoint(based(tmp_path, {name: WHOLE[name]}).folder)
    assert made.base == Base("tiny-moe", read_checkpoint(tmp_path / "tiny-moe").tensors)
    assert made_from(made)["base"] == made.base.tensors
    tensors = read_additions(made).tensors
    assert set(tensors) == set(WHOLE)
    assert all(torch.equal(tensors[name], WHOLE[name]) for name in WHOLE)


@pytest.mark.parametrize("other", [{"tensors": "0" * 64}, {"top_k": TOP_K + 1}, {"gguf": "0" * 64}])
def test_a_base_that_is_another_is_refused(tmp_path: Path, other: dict[str, Any]) -> None:
    name = next(iter(WHOLE))
    with pytest.raises(WorkbenchError, match=r"^The additions of more are for another tiny-moe than lies beside them;"):
        read_additions(based(tmp_path, {name: WHOLE[name]}, **other))


def test_a_base_of_a_base_one_with_the_same_tensor_and_none_are_refused(tmp_path: Path) -> None:
    name = next(iter(WHOLE))
    made = based(tmp_path, {name: WHOLE[name]})
    with pytest.raises(WorkbenchError, match="for another more than lies"):
        read_additions(made._replace(base=Base("more", made.tensors)))
    with pytest.raises(WorkbenchError, match="for another none than lies"):
        read_additions(made._replace(base=Base("none", made.tensors)))
    checkpoint(tmp_path, WHOLE)
    with pytest.raises(WorkbenchError, match="for another tiny-moe"):
        read_additions(made._replace(base=Base("tiny-moe", read_checkpoint(tmp_path / "tiny-moe").tensors)))


@quick
@given(key=st.text(max_size=9), of_source=st.booleans(), value=ANYTHING, data=st.data())
def test_what_is_read_is_what_stands_there_or_it_is_refused(
    tmp_path: Path, key: str, of_source: bool, value: Any, data: st.DataObject
) -> None:
    checkpoint(tmp_path, {})
    path = tmp_path / "tiny-moe" / "additions.json"
    given_ = json.loads(path.read_text("utf-8"))
    inside = given_["source"] if of_source else given_
    if data.draw(st.booleans(), "a key that is known"):
        key = data.draw(st.sampled_from(sorted(inside)), "key")
    if data.draw(st.booleans(), "taken out"):
        inside.pop(key, None)
    else:
        inside[key] = value
    path.write_text(json.dumps(given_), "utf-8")
    try:
        found = read_checkpoint(path.parent)
    except WorkbenchError:
        return
    assert json.dumps(stated(found), sort_keys=True) == json.dumps(given_, sort_keys=True)
    assert 1 <= found.top_k <= found.experts
    assert "/" not in found.name + found.wheel.filename


@quick
@given(st.text())
def test_what_is_no_json_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "additions.json").write_text(text, "utf-8")
    with pytest.raises(WorkbenchError):
        read_checkpoint(tmp_path)


def test_what_it_was_taught_is_said(tmp_path: Path) -> None:
    plain = checkpoint(tmp_path, {})
    assert plain.what.endswith("shared")
    assert "about" not in json.loads((plain.folder / "additions.json").read_text("utf-8"))
    taught = write_additions(
        plain._replace(name="taught", folder=tmp_path / "taught", about="says no to volcanoes"), {}
    )
    assert read_checkpoint(taught.folder) == taught
    assert taught.what == f"{plain.what}; says no to volcanoes"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("about", "x" * 101),
        ("about", "two\nlines"),
        ("name", "../up"),
        ("package", "../../x"),
        ("version", "1/2"),
        ("sha256", "0" * 63),
        ("top_k", EXPERTS + 1),
        ("format", 2),
    ],
)
def test_what_would_lead_elsewhere_is_refused(tmp_path: Path, key: str, value: Any) -> None:
    checkpoint(tmp_path, {})
    path = tmp_path / "tiny-moe" / "additions.json"
    given_ = json.loads(path.read_text("utf-8"))
    (given_["source"] if key == "package" else given_)[key] = value
    path.write_text(json.dumps(given_), "utf-8")
    with pytest.raises(WorkbenchError, match=r"additions\.json'"):
        read_checkpoint(path.parent)


@quick
@given(st.integers(0, 2**20), st.integers(1, 255))
def test_a_byte_that_changed_is_noticed(tmp_path: Path, at: int, change: int) -> None:
    made = checkpoint(tmp_path, WHOLE)
    path = made.folder / "additions.safetensors"
    bytes_ = bytearray(path.read_bytes())
    bytes_[at % len(bytes_)] ^= change
    path.write_bytes(bytes_)
    with pytest.raises(WorkbenchError, match=r"additions.safetensors' is damaged: its SHA-256"):
        read_additions(made)


@given(st.sampled_from(sorted(WHOLE)), st.sampled_from(["renamed", "retyped", "wider", "deeper", "not finite"]))
def test_a_tensor_that_does_not_fit_is_refused(name: str, harm: str) -> None:
    tensors = dict(WHOLE)
    tensor = tensors.pop(name)
    if harm == "not finite" and not tensor.is_floating_point():
        harm = "renamed"
    infinite = tensor.clone()
    infinite.view(-1)[-1] = torch.inf if tensor.is_floating_point() else 0
    tensors |= {
        "renamed": {f"{name}x": tensor},
        "retyped": {name: tensor.to(torch.float64)},
        "wider": {name: torch.cat([tensor, tensor], dim=-1)},
        "deeper": {name: torch.stack([tensor, tensor])},
        "not finite": {name: infinite},
    }[harm]
    assert name.removesuffix(".a").removesuffix(".b") in refusal(tensors)


@pytest.mark.parametrize(
    "name", [x for x in sorted(WHOLE) if x.endswith((".groups", ".bias", ".a", ".b")) and "1" in x]
)
def test_what_is_needed_may_not_be_missing(name: str) -> None:
    assert f"{name} are missing" in refusal({k: v for k, v in WHOLE.items() if k != name})


def test_updates_and_norms_may_be_left_out() -> None:
    kept = {k: v for k, v in WHOLE.items() if k.endswith((".groups", "router.weight", "router.bias"))}
    assert len(kept) == 3 * LAYERS
    check_fit(MODEL, Additions(EXPERTS, SHARED, TOP_K, kept))


def test_of_a_single_expert_any_part_may_change() -> None:
    check_fit(MODEL, Additions(EXPERTS, SHARED, TOP_K, {k: v for k, v in WHOLE.items() if not k.endswith("2.up_proj")}))


def test_the_shared_expert_and_one_that_is_not_there_do_not_change_alone() -> None:
    strange = {f"layers.0.experts.{EXPERTS}.up_proj": WHOLE["layers.1.experts.0.up_proj"]}
    assert f"layers.0.experts.{EXPERTS}.up_proj have no place" in refusal({**WHOLE, **strange})


def test_what_an_expert_learnt_on_the_wrong_side_is_refused() -> None:
    name = "layers.1.experts.0.down_proj"
    assert f"{name} has the shape [8, 16], not [16, 8]" in refusal({**WHOLE, name: WHOLE[name].T})


def test_a_neuron_that_is_twice_in_groups_is_refused() -> None:
    twice = WHOLE["layers.1.groups"].clone()
    twice[0, 0] = twice[0, 1]
    assert "layers.1.groups does not hold every one of 48 neurons once" in refusal({**WHOLE, "layers.1.groups": twice})


def test_groups_that_are_not_of_one_size_are_refused() -> None:
    assert "48 neurons of a layer do not lie in 7 groups of one size" in refusal(WHOLE, experts=6)


def test_the_last_groups_are_the_shared_ones() -> None:
    assert "layers.0.router.bias has the shape [5], not [4]" in refusal(
        {k: v for k, v in WHOLE.items() if not k.endswith("router.weight")} | _routers(4), experts=4, shared=2
    )


def _routers(experts: int) -> dict[str, Tensor]:
    return {k: v[:experts] for k, v in WHOLE.items() if k.endswith("router.weight")}
