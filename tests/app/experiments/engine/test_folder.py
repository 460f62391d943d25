"""A run's folder: begun, empty, or refused because another recipe, model or generation config lies there."""

import json
from pathlib import Path
from typing import Any

import pytest
from workbench_app.experiments.engine import begin, begun, check_decoding, check_model, is_finished, run_recipe_of
from workbench_app.experiments.recipe import read_sets

from tests.app.cli.test_run import PLAN
from tests.support.recipes import make_recipe
from tests.support.refusals import refused
from tests.support.stores import anatomy


def test_a_folder_is_begun_or_empty_or_refused(tmp_path: Path) -> None:
    recipe = make_recipe(tmp_path / "prompts")
    sets = read_sets(recipe)
    folder = tmp_path / "run"
    assert begun(folder, recipe, sets) is None
    assert not is_finished(folder)
    folder.mkdir()
    assert begun(folder, recipe, sets) is None
    plan = begin(folder, recipe, sets, [PLAN], "2026-01-02")
    assert begun(folder, recipe, sets) == plan == json.loads((folder / "plan.json").read_text("utf-8"))
    assert set(plan["versions"]) == {"workbench", "torch", "transformers", "numpy", "pyarrow"}
    assert {k: plan[k] for k in ("recipe", "models", "template_date")} == {
        "recipe": "small", "models": [PLAN.to_dict()], "template_date": "2026-01-02",
    }  # fmt: skip
    assert plan["prompts"]["held"] == {"source": sets["held"].source, "n": 12, "fingerprint": sets["held"].fingerprint}
    assert run_recipe_of(folder) == recipe
    (folder / "plan.json").unlink()
    assert begun(folder, recipe, sets) is None  # killed between the two files
    (folder / "zz").touch(), (folder / "other.txt").touch()
    assert refused(lambda: begun(folder, recipe, sets)) == (
        f"The folder '{folder}' holds other files ('other.txt'); choose a folder that does not exist or is empty."
    )
    assert (
        refused(lambda: begun(folder / "zz", recipe, sets))
        == f"'{folder / 'zz'}' is a file; name a folder for the run."
    )


@pytest.mark.parametrize(
    ("changes", "differ"),
    [
        ({"seed": 3}, "seed (0 there, 3 here)"),
        ({"title": "x" * 40}, f"title ( there, {'x' * 40} here)"),
        ({"title": "x" * 41}, f"title ( there, {'x' * 37}... here)"),
        ({"paper": {"title": "T"}}, "paper (nothing there, {'title': 'T'} here)"),
        ({"models": ["demo"]}, "models[0].source (tiny/olmoe there, demo here)"),
        ({"models": ["demo", "tiny/olmoe"]}, None),
        ({"seed": 1, "batch_tokens": 9, "title": "t"},
         "title ( there, t here), seed (0 there, 1 here), batch_tokens (4096 there, 9 here)"),
        ({"seed": 1, "batch_tokens": 9, "title": "t", "question": "q"},
         "title ( there, t here), question ( there, q here), seed (0 there, 1 here) and 1 more"),
    ],
)  # fmt: skip
def test_another_recipe_is_refused_with_what_differs(tmp_path: Path, changes: Any, differ: str | None) -> None:
    recipe = make_recipe(tmp_path / "prompts")
    sets = read_sets(recipe)
    begin(tmp_path / "run", recipe, sets, [], "d")
    said = refused(lambda: begun(tmp_path / "run", make_recipe(tmp_path / "prompts", **changes), sets))
    end = "differ; nothing was changed: take the same recipe, or choose another folder with --out."
    if differ is not None:
        assert said == f"The run '{tmp_path / 'run'}' was begun with another recipe: {differ} {end}"
    else:  # a list of another length is told as a whole
        assert (
            "another recipe: models ([{'source': 'tiny/olmoe', 'dtype': 'a... there, [{'source': 'demo', 'dtype': 'auto', ... "
            in said
        )


def test_another_model_or_generation_config_is_refused(tmp_path: Path) -> None:
    shape, other = anatomy(), anatomy(weights="other")
    plan = {
        "models": [{}, {"model": "m", "fingerprint": shape.fingerprint, "dtype": "float32", "decoding": {"stop": [1]}}]
    }
    check_model(tmp_path, plan, 1, shape, "float32")
    for found, dtype in ((other, "float32"), (shape, "bfloat16")):
        assert refused(lambda f=found, d=dtype: check_model(tmp_path, plan, 1, f, d)) == (
            f"The run '{tmp_path}' was begun with another model under the name 'm' (fingerprint {shape.fingerprint}, float32 "
            f"there; {found.fingerprint}, {dtype} here); choose another folder with --out."
        )
    check_decoding(tmp_path, plan, 1, {"stop": [1]})
    check_decoding(tmp_path, plan, 0, {"stop": [1]})  # an earlier version recorded none
    assert refused(lambda: check_decoding(tmp_path, plan, 1, {"stop": [2]})) == (
        f"The run '{tmp_path}' was begun with another generation config ({{'stop': [1]}} there, {{'stop': [2]}} here), so its "
        "answers would not be comparable; set it back, or choose another folder with --out."
    )
