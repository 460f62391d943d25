"""The cells of a recipe: numbered in its order, and those that a claim is about."""

from workbench_app.experiments.recipe import Claim, cells, chosen, recipe_from

from tests.support.recipes import recipe_data


def test_cells_are_numbered_in_the_order_of_the_recipe() -> None:
    plans = [
        {"ranking": "cats", "n": [1, 2], "edit": ["scale", "replace", "off"], "value": [2, 0.5, "mean"],
         "end": ["top", "bottom"]},
        {"text": "off L1E1", "name": "one", "prompts": "held"},
        {"ranking": "cats", "n": 3, "parts": [{"edit": "scale", "value": 64}, {"edit": "force", "end": "bottom", "n": 1}],
         "phase": "prompt", "span": ["<a>", "</a>"]},
    ]  # fmt: skip
    found = cells(recipe_from(recipe_data(plans=plans, capture={"keep": ["outputs"]})))
    crossed = [
        (end, edit, value, n)
        for end in ("top", "bottom")
        for edit, values in (("scale", ("2", "0.5")), ("replace", ("mean",)), ("off", (None,)))
        for value in values
        for n in (1, 2)
    ]
    assert [(c.end, c.edit, c.value, c.n) for c in found[:16]] == crossed
    assert [c.arm for c in found] == [f"P{i:02}" for i in range(1, 19)]
    assert found[16] == ("P17", "one", None, (), "all", None, "off L1E1", ("held",))
    assert (found[16].end, found[16].edit, found[16].value, found[16].n) == (None, None, None, None)
    last = found[17]
    assert (last.end, last.edit, last.value, last.n) == ("top+bottom", "scale+force", "64", 4)
    assert (last.phase, last.span, last.ranking, last.text, last.prompts) == (
        "prompt",
        ("<a>", "</a>"),
        "cats",
        None,
        (),
    )
    many = recipe_from(recipe_data(plans=[{"text": f"off L1E{i}"} for i in range(100)]))
    assert [c.arm for c in cells(many)][::99] == ["P001", "P100"]


def test_a_claim_is_about_the_cells_that_all_of_its_keys_fit() -> None:
    plans = [{"ranking": "cats", "n": [1, 2], "edit": ["scale"], "value": [2, 4], "phase": ["all", "prompt"]}]
    made = recipe_from(recipe_data(plans=plans))
    about = {"name": "c", "text": "t", "prompts": "held", "metric": "length", "direction": "down"}
    for keys, arms in (
        ({}, 8), ({"n": 2}, 4), ({"n": 2, "value": 4.0}, 2), ({"n": 2, "value": 4.0, "phase": "prompt"}, 1),
        ({"end": "bottom"}, 0),
        ({"edit": "off"}, 0), ({"ranking": "dogs"}, 0), ({"plan": "x"}, 0),
    ):  # fmt: skip
        assert len(chosen(made, Claim(**about, **keys))) == arms, keys
    (one,) = chosen(made, Claim(**about, n=2, value=4.0, phase="prompt"))
    assert (one.n, one.value, one.phase) == (2, "4", "prompt")
