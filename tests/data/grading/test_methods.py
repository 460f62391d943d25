"""The scores that are graded are asked with no draws."""


def test_the_scores_are_asked_with_no_draws(monkeypatch):
    from grading.methods import PUBLISHED, methods, thinking_methods

    found = {name: (m.func.__name__, m.keywords) for name, m in methods("t", "b").items()}
    quick, sides = {"n_permutations": 0, "n_bootstrap": 0}, {"target": "t", "baseline": "b"}
    assert found == {
        "ftri prompt": ("ftri", quick | sides | {"tokens": "prompt"}),
        "ftri last_prompt": ("ftri", quick | sides | {"tokens": "last_prompt"}),
        "ftri last_prompt weight": ("ftri", quick | sides | {"tokens": "last_prompt", "reduce": "weight"}),
        "npmi refusals": ("npmi", quick | {"target": "t", "tokens": "last_prompt"}),
        "contrast response": ("contrast", quick | {"target": "t", "baseline": "b", "tokens": "response"}),
        "usage of target": ("usage", {"tokens": "last_prompt", "n_bootstrap": 0}),
    }
    assert set(found) - set(PUBLISHED) == {"usage of target"}
    assert {name: (m.func.__name__, m.keywords) for name, m in thinking_methods().items()} == {
        "npmi markers": ("npmi", quick | {"tokens": "all"}),
        "npmi opening": ("npmi", quick | {"token": "<think>", "tokens": "all"}),
        "ftri last_prompt": (
            "ftri",
            quick | {"target": "thinks=always", "baseline": "thinks=never", "tokens": "last_prompt"},
        ),
    }
