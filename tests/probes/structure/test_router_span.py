"""Routers whose spaces are known; what centring takes away; what is refused, and said before it starts."""

import numpy as np
import pytest

from probes import router_span
from tests.probes.oracle.cases import Case, empty, golden
from tests.probes.oracle.memory import anatomy, disk_store
from tests.probes.oracle.rows import by_key
from tests.probes.structure.made import routed
from workbench.errors import WorkbenchError


def routers(*rows: np.ndarray) -> Case:
    """A layer for each matrix [experts, hidden]; experts in order of number from the last."""
    case = routed([[[[0]] * len(rows)]], [len(x) for x in rows])
    found = [
        {"layer": layer, "expert": e, "row": matrix[e].tolist()}
        for layer, matrix in enumerate(rows)
        for e in reversed(range(len(matrix)))
    ]
    return Case({**case.rows, "routers": found}, case.anatomy)


def column(case: Case, name: str, **how: bool) -> list[float | None]:
    return [row[name] for row in by_key(router_span(case.store, **how), ("layer",), (name,)).values()]


def test_one_space_is_shared_whole_and_spaces_at_right_angles_not_at_all() -> None:
    axes, turned = np.eye(8)[:4], np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
    case = routers(axes, turned @ axes, np.eye(8)[4:], np.eye(8)[:2])
    assert column(case, "rank") == [4, 4, 4, 2]
    assert column(case, "previous")[1:] == pytest.approx([1, 0, 0], abs=1e-6)
    assert column(case, "others") == pytest.approx([2 / 3, 2 / 3, 0, 2 / 3], abs=1e-6), (
        "the smaller lies within the larger"
    )
    assert column(case, "effective") == pytest.approx([4, 4, 4, 2])


def test_spaces_at_random_share_what_chance_says() -> None:
    rng = np.random.default_rng(0)
    case = routers(*rng.normal(size=(12, 16, 256)))
    assert column(case, "by_chance")[1:] == [1 / 16] * 11
    assert np.mean(column(case, "previous")[1:]) == pytest.approx(1 / 16, rel=0.1)  # pyright: ignore[reportArgumentType]


def test_what_all_rows_share_is_a_dimension_that_centring_takes_away() -> None:
    case = routers(np.eye(6)[:4], np.ones((4, 6)))
    assert column(case, "rank") == [4, 1]
    assert column(case, "rank", centred=True) == [3, 0]
    assert column(case, "previous", centred=True) == [None, None], "a router that sees nothing shares nothing"


def test_rows_that_repeat_others_add_no_dimension() -> None:
    rows = np.random.default_rng(1).normal(size=(3, 64)).astype(np.float32)
    mixed = (np.random.default_rng(2).normal(size=(16, 3)).astype(np.float32) @ rows).astype(np.float32)
    assert column(routers(mixed), "rank") == [3]


def test_what_is_refused(tmp_path) -> None:
    with pytest.raises(WorkbenchError, match="kept no routers; capture it again with keep including 'routers'"):
        router_span(disk_store(tmp_path / "s", golden().anatomy, golden().rows))
    with pytest.raises(WorkbenchError, match=r"1 routers' spaces: .* which is over limit_mb=0; capture fewer layers"):
        router_span(routers(np.eye(8)).store, limit_mb=0)
    assert "routers" in disk_store(tmp_path / "t", anatomy((3, 5), 2), {**empty(), **golden().rows}).lacks
