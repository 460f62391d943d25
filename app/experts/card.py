"""The card of an expert: what a store and its probes say of it, section by section."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from workbench import ExpertRef, WorkbenchError

from . import asked
from .facts import Selected, by_role, contexts, said, selected_by, top_tokens

if TYPE_CHECKING:
    from workbench import Store

_SIZES = {"L2 norm": "output_l2", "largest |value|": "output_max_abs"}
_CONTEXTS = 5


class Section(NamedTuple):
    """Sentences, then a table; `heads` is empty where there is none."""

    title: str
    lines: tuple[str, ...] = ()
    heads: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


class Card(NamedTuple):
    """All of it."""

    ref: ExpertRef
    model: str
    store: str
    sections: tuple[Section, ...]
    note: str = (
        "Associated with the prompts of one store; what the expert does is measured by switching it off: compare."
    )


def card_of(store: "Store", ref: ExpertRef, target: str | None = None, baseline: str | None = None) -> Card:
    """The card of a routed expert of the store; target, baseline: labels for the probes that compare classes.

    Raises `WorkbenchError` for an expert that the store does not have.
    """
    known = ref.layer in store.layers and not ref.is_shared and ref.expert < store.anatomy.layer(ref.layer).n_experts
    if not known:
        raise WorkbenchError(
            f"'{store.path}' has no routed expert {ref}; its layers are {', '.join(map(str, store.layers))}, of "
            f"{max(store.anatomy.layer(n).n_experts for n in store.layers)} experts at most."
        )
    found = selected_by(store.routing(ref.layer), ref.expert)
    sections = (
        _use(store, ref, found),
        _label(store, ref),
        *_words(store, found),
        _directions(store, ref),
        _sizes(store, ref),
        _alike(store, ref),
        _followed(store, ref),
        _ranks(store, ref, target, baseline),
    )
    return Card(ref, store.anatomy.model, str(store.path), tuple(s for s in sections if s.lines or s.rows))


def _use(store: "Store", ref: ExpertRef, found: Selected) -> Section:
    layer, n, hit = store.anatomy.layer(ref.layer), int(found.routed.sum()), int(found.hit.sum())
    mean = float(found.weight[found.hit].mean()) if hit else 0.0
    lines = (
        f"{hit:,} of {n:,} tokens select it ({hit / max(n, 1):.2%}; even routing: {layer.top_k / layer.n_experts:.2%}), with a "
        f"mean weight of {mean:.3f}.",
    )
    roles: Any = by_role(store, found)
    rows = tuple((str(r.tokens), f"{r.share:.2%}", f"{r.n:,}") for r in roles.itertuples())
    return Section("Use", lines, ("tokens", "share that select it", "n"), rows)


def _label(store: "Store", ref: ExpertRef) -> Section:
    told = asked.label(store, ref)
    if told.why or told.rows["label"].iloc[0] == "":
        return Section("Label", (told.why or "No word tells where it is selected.",))
    row: Any = told.rows.iloc[0]
    good = "cannot be held against these prompts" if np.isnan(row["auroc"]) else f"has an AUROC of {row['auroc']:.2f}"
    return Section("Label", (f"Selected at {row['label']}.", f"On held-out prompts this label {good}; 0.5 is chance."))


def _words(store: "Store", found: Selected) -> Iterator[Section]:
    spoken = said(store, found)
    if not spoken.hit.any():
        yield Section("Tokens", ("No token of what was said selects it.",))
        return
    frame = top_tokens(store, spoken)
    names = [_shown(token, number) for token, number in zip(frame["token"], frame["id"], strict=True)]
    numbers = zip(names, frame["selected"], frame["of"], frame["lift"], frame["nPMI"], strict=True)
    rows = tuple((name, f"{k:,} of {of:,}", f"{lift:.2f}", f"{npmi:+.2f}") for name, k, of, lift, npmi in numbers)
    yield Section("Tokens that go with it", (), ("token", "select it", "lift", "nPMI"), rows)
    token, ids = store.tokens["token"].to_numpy(), store.tokens["token_id"].to_numpy()
    excerpts = []
    for context in contexts(store, spoken, most=_CONTEXTS):
        words = [_text(token[i], ids[i]) for i in range(context.first, context.last + 1)]
        words[context.row - context.first] = f"[[{words[context.row - context.first]}]]"
        prompt = str(store.tokens["prompt_id"].iloc[context.row])
        excerpts.append((prompt, " ".join("".join(words).split()), f"{spoken.weight[context.row]:.3f}"))
    yield Section("Contexts", (), ("prompt", "text", "weight"), tuple(excerpts))


def _directions(store: "Store", ref: ExpertRef) -> Section:
    told = asked.words(store, ref)
    rows = tuple(
        (r.side, "the expert" if np.isnan(r.neuron) else f"neuron {int(r.neuron)}", f"{r.share:.1%}", r.words)
        for r in told.rows.itertuples()
    )
    return Section("Words of its weights", (told.why,) if told.why else (), ("side", "of", "share", "words"), rows)


def _sizes(store: "Store", ref: ExpertRef) -> Section:
    slots: Any = store.table("slots", ["expert", *_SIZES.values()], [ref.layer])
    mine = slots["expert"] == ref.expert
    rows = []
    for name, column in _SIZES.items():
        own, others = (slots[column][side].dropna() for side in (mine, ~mine & (slots["expert"] >= 0)))
        if len(own):
            rows.append(
                (name, f"{own.median():.4g}", f"{own.max():.4g}", f"{others.median():.4g}" if len(others) else "-")
            )
    return Section("Outputs", (), ("size", "median", "largest", "median of the layer's others"), tuple(rows))


def _alike(store: "Store", ref: ExpertRef) -> Section:
    told = asked.alike(store, ref)
    rows = tuple((f"L{ref.layer}E{int(r.like)}", f"{r.cosine:+.2f}") for r in told.rows.itertuples())
    return Section("Most alike to its router", (told.why,) if told.why else (), ("expert", "cosine"), rows)


def _followed(store: "Store", ref: ExpertRef) -> Section:
    told = asked.followed(store, ref)
    rows = tuple((r.when, f"L{r.layer}E{r.expert}", f"{r.lift:.2f}", f"{int(r.n):,}") for r in told.rows.itertuples())
    return Section(
        "Selected by its tokens in the next layers",
        (told.why,) if told.why else (),
        ("when", "expert", "lift", "n"),
        rows,
    )


def _ranks(store: "Store", ref: ExpertRef, target: str | None, baseline: str | None) -> Section:
    rows = [
        (r.name, f"{r.rank} of {r.of}", f"{r.score:.4g}", f"{r.n:,}", r.flags)
        if r.rank
        else (r.name, "-", "-", f"{r.n:,}", "")
        for r in asked.ranked(store, ref, target, baseline)
    ]
    return Section("In every ranking", (), ("probe", "rank", "score", "n", "flags"), tuple(rows))


def _shown(token: Any, number: int) -> str:
    return repr(token) if isinstance(token, str) else f"#{number}"


def _text(token: Any, number: int) -> str:
    return token if isinstance(token, str) else f"#{number} "
