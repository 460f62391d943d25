"""The reference itself: it imports nothing from workbench, and it agrees with transformers, computed from weights alone."""

import ast
from pathlib import Path
from types import ModuleType

import pytest
import torch

from tests.support import families, reference, routing_rules
from tests.support.families import MODELS
from tests.support.watching import relative, watch


@pytest.mark.parametrize("module", [reference, routing_rules])
def test_reference_imports_nothing_from_workbench(module: ModuleType) -> None:
    tree = ast.parse(Path(module.__file__ or "").read_text(encoding="utf-8"))
    imported = [n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    imported += [a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names]
    assert not [name for name in imported if "workbench" in name or "transformers" in name]


@pytest.mark.parametrize("name", MODELS)
def test_reference_equals_transformers(name: str) -> None:
    model = families.get(name)
    for layer, seen in watch(model, None, families.ids(model)).layers.items():
        expected = reference.answer(model.hf, layer, seen.hidden)
        torch.testing.assert_close(
            reference.router_logits(model.hf, layer, seen.hidden), seen.logits.double(), rtol=0, atol=1e-5
        )
        clear = expected.margins > 1e-5
        assert clear.float().mean() > 0.9
        assert torch.equal(seen.received()[clear], expected.selected[clear])
        torch.testing.assert_close(seen.dense()[clear], expected.weights[clear], rtol=0, atol=2e-6)
        assert relative(seen.block[clear], expected.block[clear]) < 1e-5
