"""The options of every probe on the page Probes, and what is asked as they stand."""

import pytest
from workbench_app.dashboard.questions import Offer, offer, option_widgets
from workbench_app.dashboard.rankings import probe_options
from workbench_app.dashboard.rankings.probe_options import Asked

from tests.app.paper import assert_drawn, drawn, write_on
from workbench import WorkbenchError

CHOSEN = {
    "ftri-reduce": "weight",
    "ftri-contrast": "standardized",
    "ftri-roles": ["user"],
    "ftri-where": "odd=yes",
    "ftri-permutations": 7.0,
    "ftri-seed": 3.0,
    "ftri-adjust": "maxT",
    "ftri-permute": "pairs",
    "ftri-tokens": "prompt",
    "ftri-target": "odd=yes",
    "ftri-baseline": None,
    "npmi-kind": "a label",
    "npmi-label": "odd=yes",
    "npmi-role": "user",
    "npmi-token": "x",
    "contrast-pooling": "any",
    "usage-measure": "weight",
    "usage-roles": ["user", "assistant"],
    "super_experts-guard": False,
    "super_experts-shared": False,
    "super_experts-rule": "paper",
}


@pytest.mark.parametrize("method", list(probe_options.PROBES))
def test_the_options_of_every_probe_and_what_is_asked_as_they_stand(store, monkeypatch, method):
    paper = write_on(monkeypatch)
    asked = probe_options.ask(method, offer(store.path))
    assert_drawn(f"ask_{method}", "\n".join([*paper.lines, str(asked)]))


def test_another_store_is_chosen_by_its_name(store, monkeypatch):
    paper = write_on(monkeypatch, {"drift-other": "stores/two", "drift-what": "output"})
    asked = probe_options.ask("drift", offer(store.path), ("stores/one", "stores/two"))
    assert asked.options == (("other", "stores/two"), ("what", "output"))
    assert "selectbox 'The other store' ['stores/one', 'stores/two'] None key='drift-other'" in paper.lines[0]
    assert probe_options.check(asked) is asked
    with pytest.raises(
        WorkbenchError, match="drift compares with another store and has none; choose one, or capture it"
    ):
        probe_options.check(Asked("drift", (("other", None),)))


def test_what_is_chosen_is_asked(store, monkeypatch):
    answers = dict(CHOSEN)
    write_on(monkeypatch, answers)
    ask, found = probe_options.ask, offer(store.path)
    assert ask("ftri", found).options == (
        ("adjust", "maxT"), ("contrast", "standardized"), ("n_permutations", 7), ("permute", "pairs"), ("reduce", "weight"),
        ("roles", ("user",)), ("seed", 3), ("target", "odd=yes"), ("tokens", "prompt"), ("where", "odd=yes"),
    )  # fmt: skip
    assert ask("npmi", found).options == (("target", "odd=yes"),)
    for kind, option in (("a token", ("token", "x")), ("a role", ("role", "user")), ("<think> against </think>", None)):
        answers["npmi-kind"] = kind
        assert ask("npmi", found).options == ((option,) if option else ())
    assert dict(ask("contrast", found).options) == {
        "pooling": "any",
        "target": "odd=yes",
        "baseline": "odd=no",
        "tokens": "last_prompt",
    }
    assert ask("usage", found).options == (("measure", "weight"), ("roles", ("user", "assistant")))
    assert ask("super_experts", found).options == (("guard", False), ("rule", "paper"), ("shared", False))


def test_a_store_in_which_all_tokens_have_one_role_asks_of_a_label_first(store, monkeypatch):
    write_on(monkeypatch)
    one = offer(store.path)._replace(roles=("unknown",))
    assert probe_options.ask("npmi", one).options == (("target", "odd=yes"),)
    assert probe_options.ask("npmi", one._replace(classes=())).options == (("role", "unknown"),)


def test_a_question_with_a_gap_is_a_sentence():
    for method, name in (
        ("ftri", "target"),
        ("contrast", "target"),
        ("npmi", "target"),
        ("npmi", "token"),
        ("npmi", "role"),
    ):
        with pytest.raises(WorkbenchError, match=f"{method} needs a {name} and has none; choose or type one"):
            probe_options.check(Asked(method, ((name, ""),)))
    whole = Asked("ftri", (("baseline", None), ("seed", 0), ("target", "x")))
    assert probe_options.check(whole) is whole
    assert str(whole) == "ftri (seed=0, target=x)"


def test_several_numbers_a_word_and_a_label_can_be_asked(store, monkeypatch):
    answers = {
        "locality-windows": "2,8",
        "locality-caches": "0.5, 1",
        "decode-token": " the",
        "easy_ep-domains": "odd",
        "tcess-tasks": "odd",
        "tcess-prompt": "p0",
    }
    write_on(monkeypatch, answers)
    ask, found = probe_options.ask, offer(store.path)
    assert ask("locality", found).options == (("caches", (0.5, 1)), ("windows", (2, 8)))
    assert ask("decode", found).options == (("token", " the"),)
    assert ask("easy_ep", found).options == (("domains", "odd"),)
    assert ask("tcess", found).options == (("prompt", "p0"), ("tasks", "odd"))
    answers["co_selection-layer"] = 1
    assert ask("co_selection", found).options == (("layer", 1),)
    answers["locality-windows"] = "4, many"
    with pytest.raises(WorkbenchError, match="windows is '4, many'; give numbers with commas between, such as 4, 16"):
        probe_options.check(ask("locality", found))


def test_no_text_from_a_browser_names_an_address(store, monkeypatch):
    paper = write_on(monkeypatch)
    probe_options.ask("describe", offer(store.path))
    assert not any(f"describe-{name}" in line for line in paper.lines for name in ("endpoint", "model", "calls"))


def test_a_store_offers_its_labels_splits_and_roles(store, tmp_path):
    assert offer(store.path) == Offer(
        classes=("odd=yes", "odd=no"),  # nothing was refused
        compared=("odd=yes",),
        conditions=("odd=yes", "odd=no"),
        roles=("user", "assistant"),
        has_responses=True,
        has_verdicts=False,
        thinks=False,
    )


def test_widgets_begin_with_what_is_there(monkeypatch):
    paper = write_on(monkeypatch)
    none = Offer((), (), (), (), False, False, True)
    assert option_widgets.one_of("L", "a", ["x", "y"], "y") == "y"
    assert option_widgets.one_of("L", "b", ["x", "y"], "z") == "x"
    assert option_widgets.one_of("L", "c", [], "z") is None
    assert option_widgets.two_classes("m", ("one", "two"), none, paper.columns(2)) == {"one": None, "two": None}
    alone = none._replace(classes=("x",))
    assert option_widgets.two_classes("n", ("one", "two"), alone, paper.columns(2)) == {"one": "x", "two": None}
    assert option_widgets.choice("usage", "measure") == "load"
    assert option_widgets.choice("contrast", "tokens", "shared_end") == "shared_end"
    assert option_widgets.choice("usage", "measure", "weight") == "weight"
    assert option_widgets.default_of("npmi", "role") is None
    assert_drawn("widgets", drawn(paper))
