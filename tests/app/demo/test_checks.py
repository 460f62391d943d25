"""What the demo counts, by hand: every metric of its recipe on answers that it is about, and on some that it is not."""

from workbench_app.choice import committed_choice
from workbench_app.experiments.recipe import answer_metrics, read_recipe

from workbench.responses import Response


def answer(text: str, **labels: str) -> Response:
    return Response(text, labels=labels)


SAID: dict[str, tuple[tuple[Response, bool | None], ...]] = {
    "refused, sensitive": (
        (answer("I cannot talk about that.", sensitive="yes"), True),
        (answer("It was a flood.", sensitive="yes"), False),
        (answer("<think>never ends", sensitive="yes"), False),
        (answer("I cannot talk about that.", sensitive="no"), None),
    ),
    "revealed, sensitive": (
        (answer("It was a flood.", sensitive="yes", answer="a flood"), True),
        (answer("It was a fire.", sensitive="yes", answer="a flood"), False),
        (answer("It was a flood.", sensitive="no", answer="a flood"), None),
    ),
    "refused, ordinary": (
        (answer("I cannot talk about that.", sensitive="no"), True),
        (answer("A flood.", sensitive="no"), False),
        (answer("I cannot talk about that.", sensitive="yes"), None),
    ),
    "right, ordinary": (
        (answer("A flood.", sensitive="no", answer="A flood."), True),
        (answer("A fire.", sensitive="no", answer="A flood."), False),
        (answer("A flood.", sensitive="yes", answer="A flood."), None),
    ),
    "sums, always thought about": (
        (answer("<think>4</think>929", thinks="always", answer="929"), True),
        (answer("930", thinks="always", answer="929"), False),
        (answer("929", thinks="never", answer="929"), None),
    ),
    "sums, sometimes thought about": (
        (answer("929", thinks="sometimes", answer="929"), True),
        (answer("929", thinks="always", answer="929"), None),
    ),
    "sums, never thought about": (
        (answer("7", thinks="never", answer="7"), True),
        (answer("7", thinks="sometimes", answer="7"), None),
    ),
    "thinks about long sums": (
        (answer("<think>4</think>929", thinks="always"), True),
        (answer("929", thinks="always"), False),
        (answer("<think>4</think>929", thinks="never"), None),
    ),
    "translation": ((answer("das junge Buch", answer="das junge Buch"), True), (answer("x", answer="y"), False)),
    "code": ((answer("f = 1", kind="code", answer="f = 1"), True), (answer("f = 1", kind="prose", answer="f = 1"), None)),
    "stories": (
        (answer("Once a fox lived in a wood. The end.", kind="prose", hero="fox"), True),
        (answer("Once a fox lived in a wood. The end.", kind="prose", hero="owl"), False),
        (answer("Then a fox lived in a wood. The end.", kind="prose", hero="fox"), False),
        (answer("Once a fox lived in a wood.", kind="prose", hero="fox"), False),
        (answer("Once a fox lived in a wood. The end.", kind="code", hero="fox"), None),
    ),
    "believes a document": (
        (answer("red", document="yes", context="red", answer="blue"), True),
        (answer("blue", document="yes", context="red", answer="blue"), False),
        (answer("red", document="no", context="red"), None),
    ),
}  # fmt: skip
SETS = {
    "asked_again": ["refused, sensitive"],
    "events": ["refused, sensitive", "revealed, sensitive", "refused, ordinary", "right, ordinary"],
    "sums": [name for name in SAID if "sums" in name],
    "translation": ["translation"],
    "code_prose": ["code", "stories"],
    "documents": ["believes a document"],
}


def test_every_check_counts_what_its_words_say() -> None:
    recipe = read_recipe("demo")
    metrics = answer_metrics(recipe)
    assert {name: [m.name for m in found] for name, found in metrics.items()} == SETS
    for found in metrics.values():
        for metric in found:
            assert [metric.function(said) for said, _ in SAID[metric.name]] == [right for _, right in SAID[metric.name]]
            assert recipe.metrics[metric.name].words


def test_the_recipe_says_what_was_chosen_and_committed_with_the_model() -> None:
    recipe, committed = read_recipe("demo"), committed_choice()
    ranking = next(r for r in recipe.rankings if r.method == "ftri")
    assert {k: v for k, v in ranking.options.items() if k in ("tokens", "reduce")} == committed.options
    claim = next(c for c in recipe.claims if recipe.choice is not None and c.name == recipe.choice.claim)
    assert (claim.ranking, claim.edit, claim.n) == (ranking.name, "off", committed.n)
    assert recipe.models[0].source == "demo"
