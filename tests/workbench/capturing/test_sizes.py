"""How large a store becomes, and one too large refused."""

from pathlib import Path

import pytest

from tests.support.stores import anatomy
from workbench.capturing import check_disk, estimate
from workbench.capturing.sizes import readable
from workbench.errors import WorkbenchError


class TestSizes:
    def test_a_store_too_big_is_refused(self, tmp_path: Path) -> None:
        needed = estimate(anatomy(), 10**13, {"norms"})
        with pytest.raises(
            WorkbenchError, match=r"needs about .* TB for 10,000,000,000,000 tokens .* its disk has .* free"
        ):
            check_disk(tmp_path / "not" / "yet" / "there", needed)
        check_disk(tmp_path, estimate(anatomy(), 100, {"norms"}))

    def test_what_is_kept_counts(self) -> None:
        total = {
            kept: estimate(anatomy(), 1000, set(kept)).total
            for kept in [(), ("norms",), ("residual",), ("logits",), ("outputs",)]
        }
        assert min(total.values()) == total[()]
        every, one = (estimate(anatomy(), 1000, {"outputs"}, None, e).total for e in (None, [(1, 0)]))
        assert one < every

    @pytest.mark.parametrize(("size", "text"), [(0, "0 B"), (999, "999 B"), (1234, "1.2 kB"), (5e10, "50 GB")])
    def test_readable(self, size: float, text: str) -> None:
        assert readable(size) == text
