"""The contract that every engine of the workbench passes, and the numbers of the native one."""

import pytest

from tests.serving.support.models import native, served
from workbench.backends.contract import BackendContract, SameNumbers
from workbench.model import MoEModel


class TestDemo(BackendContract):
    def model(self) -> MoEModel:
        return served("demo")


class TestBiasAndGroups(BackendContract):
    def model(self) -> MoEModel:
        return served("deepseek_v3")


@pytest.mark.parametrize("name", ["demo", "deepseek_v3"])
def test_the_native_numbers(name: str) -> None:
    class Both(SameNumbers):
        def models(self) -> tuple[MoEModel, MoEModel]:
            return native(name), served(name)

    Both().test_runs_and_scores_are_the_same()
