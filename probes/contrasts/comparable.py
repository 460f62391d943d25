"""Whether the experts of two stores can be told from each other by their numbers: one architecture, routed by one rule."""

from typing import TYPE_CHECKING

from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    from workbench.store import Store


def check_comparable(store: "Store", other: "Store") -> None:
    """Raises `WorkbenchError` with the first thing in which two stores' architectures, or what was captured of them, differ.

    Compared are the family, the hidden size, the captured layers, and of each its experts, top-k and routing rule. Weights
    may differ, and so may prompts. Two models of one architecture that were trained apart pass: nothing tells them.
    """
    mine, theirs = _facts(store), _facts(other)
    for one, another in zip(mine, theirs, strict=False):  # they differ in length where the layers before differ
        if one != another:
            raise WorkbenchError(
                f"'{store.path}' has {one} and '{other.path}' has {another}, so expert numbers do not mean the "
                f"same in both; compare stores of one model before and after tuning, or of one model on two prompt sets."
            )


def model_note(store: "Store", other: "Store") -> str:
    """What is compared: one model on two prompt sets, or what is taken for two states of one model."""
    mine, theirs = store.anatomy, other.anatomy
    if mine.fingerprint == theirs.fingerprint:
        return f"both stores are of one model, {mine.model} ({mine.fingerprint})"
    return (
        f"taken for one model before and after tuning: {mine.model} ({mine.fingerprint}) and {theirs.model} "
        f"({theirs.fingerprint}); of models trained apart expert numbers mean nothing"
    )


def _facts(store: "Store") -> list[str]:
    anatomy, captured = store.anatomy, ", ".join(map(str, store.layers))
    of_layer = [
        f"{x.n_experts} experts in layer {x.layer}, top-{x.top_k}, routed by {x.rule or 'a rule that was not found'}"
        for x in map(anatomy.layer, store.layers)
    ]
    model = [f"the family {anatomy.family}", f"a hidden size of {anatomy.hidden_size:,}"]
    return [*model, f"layers {captured} captured", *of_layer]
