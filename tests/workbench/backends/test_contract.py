"""The shipped contract, passed by the engines that we ship; and two engines, the same numbers."""

import copy
from functools import cache
from importlib.util import find_spec

import pytest

from tests.support import families
from workbench import load
from workbench.backends.contract import BackendContract, SameNumbers
from workbench.model import MoEModel

needs_nnsight = pytest.mark.skipif(not find_spec("nnsight"), reason="the extra 'interop' is not installed (nnsight)")


@cache
def traced(name: str) -> MoEModel:
    model = families.get(name)
    return load(copy.deepcopy(model.hf), model.tokenizer, engine="nnsight")


class TestNative(BackendContract):
    def model(self) -> MoEModel:
        return families.get("demo")


class TestNativeWithSharedExperts(BackendContract):
    def model(self) -> MoEModel:
        return families.get("qwen2_moe")


@needs_nnsight
class TestNnsight(BackendContract):
    def model(self) -> MoEModel:
        return traced("demo")


@needs_nnsight
class TestNativeAndNnsight(SameNumbers):
    def models(self) -> tuple[MoEModel, MoEModel]:
        return families.get("qwen2_moe"), traced("qwen2_moe")
