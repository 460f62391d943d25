"""The bundled store is what its command makes: `workbench capture demo refusal --store data/demo-store --generate 16`."""

import numpy as np
import pytest
from workbench_app.choice import committed_choice

from probes import ftri
from tests import families
from workbench import capture, open_store
from workbench.bundled import bundled_path


@pytest.fixture(scope="module")
def bundled():
    return open_store(bundled_path("demo-store"))


def test_it_is_whole_and_of_the_bundled_model(bundled):
    assert bundled.check() == []
    assert families.get("demo").anatomy.is_same(bundled.anatomy.fingerprint)
    assert not bundled.steering


def test_it_ranks_the_experts_that_were_chosen_on_the_ranking_split(bundled):
    choice = committed_choice()
    scores = ftri(bundled, target="refused", baseline="answered", **choice.options)
    assert [str(ref) for ref in scores.top(choice.n)] == ["L2E8", "L2E20"]


@pytest.mark.slow
def test_capturing_again_gives_the_same_store(bundled, tmp_path):
    again = capture(families.get("demo"), "refusal", tmp_path / "again", generate=16, progress=False)
    keys = ["prompt_id", "sample", "position"]
    there, here = (s.tokens.astype({"prompt_id": str}).sort_values(keys) for s in (bundled, again))
    assert there["token_id"].tolist() == here["token_id"].tolist()
    keys += ["layer", "expert"]
    there, here = (s.table("slots").astype({"prompt_id": str}).sort_values(keys) for s in (bundled, again))
    assert there[keys].to_numpy().tolist() == here[keys].to_numpy().tolist()
    np.testing.assert_allclose(there["weight"], here["weight"], atol=1e-4)
    np.testing.assert_allclose(there["output_l2"], here["output_l2"], rtol=1e-3)
