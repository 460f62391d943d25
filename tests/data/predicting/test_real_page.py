"""What the page says of a real model: its verdict, its order, and no number that was not measured."""

import pytest
from predicting.page import page
from predicting.real_page import real_part

from tests.data.predicting.test_page import arms

NAN = (float("nan"),) * 3


def kind(**told):
    worst = [[11, 0, 2.5, 2.0, 3.0], [1, 2, 0.1, 0.0, 0.2]]
    return {"experts": 100, "outside noise": 0.4, "median": 0.001, "worst": worst, "reliability": 0.64, "told": told}


def figures(code, german, prose):
    kinds = {name: kind(**told) for name, told in (("code", code), ("german", german), ("prose", prose))}
    return {
        "model": "smollm2-moe", "experts": 840, "tokens": dict.fromkeys(kinds, 3048), "documents": dict.fromkeys(kinds, 24),
        "clusters": [["usage", "saliency"], ["ftri"], ["npmi"]], "cut": 0.8,
        "refused": {"It needs more.": ["tcess"]}, "kinds": kinds,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("prose", "said"),
    [
        ((-0.3, -0.5, -0.1), "Of 1 scores 1 have"),
        ((0.3, 0.1, 0.5), "None of 1 scores"),  # outside, with the other sign
        ((-0.1, -0.3, 0.1), "None of 1 scores"),
        (NAN, "None of 1 scores"),
    ],
)
def test_a_score_is_named_where_it_tells_on_every_kind(prose, said):
    text = real_part(figures({"ftri": (-0.4, -0.6, -0.2)}, {"ftri": (-0.5, -0.7, -0.3)}, {"ftri": prose}))
    assert said in text


def test_the_largest_correlation_stands_first_whatever_its_sign():
    told = {"small": (0.1, 0.05, 0.2), "large": (-0.5, -0.6, -0.4), "none": NAN}
    text = real_part(figures(told, told, told))
    assert "that of **large**: -0.50 on code" in text
    assert text.index("| large | -0.50 [-0.60, -0.40] |") < text.index("| small | +0.10 [+0.05, +0.20] |")
    assert "none" not in text.partition("### Which score")[2].partition("### Which rankings")[0].replace("None", "")
    assert "nan" not in text


def test_effects_clusters_and_refusals():
    text = real_part(figures({}, {}, {}))
    assert "| code | 40% | +0.0010 | L11E0: +2.500 [+2.000, +3.000] | 0.64 | 0.80 |" in text
    assert "- usage, saliency\n- each alone: ftri, npmi" in text
    assert "4 rankings of that store" in text
    assert "Not asked: tcess. It needs more." in text


def test_the_page_has_both_parts_or_the_first_alone():
    alone = page(arms({"good": 0.9}, {"good": 0.8}))
    both = page(arms({"good": 0.9}, {"good": 0.8}), figures({}, {}, {}))
    assert both.startswith(alone.rstrip("\n"))
    assert "## On a real model" in both
    assert "## On a real model" not in alone


def test_without_arms_the_page_says_that_they_were_not_measured():
    text = page({}, figures({}, {}, {}))
    assert "were not measured yet" in text
    assert "## On a real model" in text
    assert "seeds" not in text
