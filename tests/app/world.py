"""What the dashboard looks at in tests that need no model: two layers of four experts, and a store of two short answers."""

from types import SimpleNamespace

import pandas as pd
from workbench_app.dashboard.session import Catalog, Machine, View

from workbench.anatomy import Anatomy, LayerAnatomy
from workbench.answering import StreamedToken
from workbench.answering.streaming import Candidate
from workbench.store import write_store

SHAPE = Anatomy("tiny", "qwen3_moe", 8, 9, "weights", (LayerAnatomy(0, 4, 2), LayerAnatomy(1, 4, 2)))
# position by position: the experts of layer 0 with weights 0.75 and 0.25; layer 1 has each expert's number plus one
ROUTES = {("a", 0): (0, 1), ("a", 1): (0, 2), ("b", 0): (1, 2), ("b", 1): (2, 0)}
TEXTS = (" in", "<b>", "!")


def store_at(path):
    """Two prompts of two tokens and an answer of one, which the model never read."""
    tokens = [
        (p, i, 7 if i == 1 else i, TEXTS[i], "user" if i < 2 else "assistant", i > 1) for p in "ab" for i in range(3)
    ]
    rows = [
        (p, i, layer, slot, (e + layer) % 4, [0.75, 0.25][slot], 10.0 * (e + 1) + layer, 100.0 * (e + 1))
        for (p, i), chosen in ROUTES.items() for layer in (0, 1) for slot, e in enumerate(chosen)
    ]  # fmt: skip
    kept = [(p, i, layer, 4.0, 200.0 + i + layer, 0.25 + i / 8, 0.5) for p, i in ROUTES for layer in (-1, 0, 1)]
    columns = ["prompt_id", "position", "layer", "slot", "expert", "weight", "output_l2", "output_max_abs"]
    tables = {
        "prompts": pd.DataFrame({"prompt_id": ["a", "b"], "text": ["first", "second"], "n_tokens": 2}),
        "tokens": pd.DataFrame(
            tokens, columns=["prompt_id", "position", "token_id", "token", "role", "generated"]
        ).assign(sample=0),
        "slots": pd.DataFrame(rows, columns=columns).assign(sample=0, output_argmax=0),
        "residual": pd.DataFrame(
            kept, columns=["prompt_id", "position", "layer", "l2", "max_abs", "median_abs", "routed_change"]
        ).assign(sample=0, argmax=0),
        "labels": pd.DataFrame({"prompt_id": ["a", "b"], "name": "odd", "value": ["no", "yes"], "source": "given"}),
    }
    return write_store(path, SHAPE, tables)


def everybody_at(path):
    """Two prompts of two tokens, each of which goes to all three experts of a layer with one weight; outputs of any size."""
    shape = Anatomy("everybody", "glm4_moe", 8, 9, "weights", tuple(LayerAnatomy(n, 3, 3) for n in (0, 1)))
    keys = [(p, i) for p in "ab" for i in range(2)]
    rows = [
        (p, i, layer, e, e, 1 / 3, 10.0 + e, 20.0 * (e + 1) + layer)
        for p, i in keys
        for layer in (0, 1)
        for e in range(3)
    ]
    kept = [(p, i, layer, 4.0, 200.0, 0.25, 0.5) for p, i in keys for layer in (-1, 0, 1)]
    columns = ["prompt_id", "position", "layer", "slot", "expert", "weight", "output_l2", "output_max_abs"]
    tokens = pd.DataFrame([(p, i, i, "t", "user", False) for p, i in keys],
        columns=["prompt_id", "position", "token_id", "token", "role", "generated"])  # fmt: skip
    tables = {
        "prompts": pd.DataFrame({"prompt_id": ["a", "b"], "text": ["first", "second"], "n_tokens": 2}),
        "tokens": tokens.assign(sample=0),
        "slots": pd.DataFrame(rows, columns=columns).assign(sample=0, output_argmax=0),
        "residual": pd.DataFrame(
            kept, columns=["prompt_id", "position", "layer", "l2", "max_abs", "median_abs", "routed_change"]
        ).assign(sample=0, argmax=0),
    }
    return write_store(path, shape, tables)


def view_of(project, store=None, name="tiny", template="{{ x }}"):
    """A view of the model, and of the store at `project`/stores/one where it is asked for."""
    model = SimpleNamespace(anatomy=SHAPE, tokenizer=SimpleNamespace(chat_template=template))
    catalog = Catalog({name: name}, {}, project)
    path = None if store is None else store.path
    return View(catalog, name, Machine(model), None if store is None else "stores/one", path)


def token(number, text=None, *others, probability=0.5, routing=None, end=False):
    """A generated token, with what else could have come as (id, text, probability)."""
    chosen = Candidate(number, f"t{number}" if text is None else text, probability)
    return StreamedToken(chosen, (chosen, *(Candidate(*o) for o in others)), routing or {}, end)
