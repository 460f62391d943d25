"""`workbench factorize`: a dense checkpoint as a folder of an MoE architecture that transformers has."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench import WorkbenchError
from workbench.paths import given_path

from ..terminal import print_json, say, without_bars
from .options import Json

if TYPE_CHECKING:
    from workbench.factorization import Sizes


def factorize(
    dense: Annotated[str, typer.Argument(metavar="DENSE", help="A folder, a Hugging Face id, or a GGUF file.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder for the MoE model.")],
    experts: Annotated[
        int, typer.Option(min=2, help="Groups of neurons in each layer, the shared ones included.")
    ] = 32,
    shared: Annotated[int, typer.Option(min=0, help="How many of the groups are the shared expert.")] = 4,
    top_k: Annotated[int, typer.Option(min=1, help="Routed experts of a token.")] = 20,
    exact: Annotated[bool, typer.Option("--exact", help="Every expert is on: the same function as DENSE.")] = False,
    distil: Annotated[
        int, typer.Option(min=0, metavar="TOKENS", help="Tokens that routers and low-rank updates are taught on.")
    ] = 0,
    text: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What is read; without it the dense model's own words.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Deals the neurons into groups, and draws.")] = 0,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a Hugging Face id.")] = None,
    json: Json = False,
) -> None:
    """Rewrite a dense model as a mixture of experts: its neurons in groups, under an architecture that transformers has.

    The experts are groups of a dense network; the folder, its card and `workbench inspect` say so. What no architecture holds is
    refused before any work. The same command goes on where it was stopped.
    """
    from workbench.factorization import Sizes, factorize

    if exact and (distil or text is not None):
        raise WorkbenchError(
            "With --exact every expert is on and nothing is learned; leave out --distil and --text, or --exact."
        )
    without_bars()
    if exact:
        sizes = Sizes(experts, shared, min(top_k, experts - shared))
        path = factorize(dense, given_path(out), sizes, seed=seed, revision=revision, progress=True)
    else:
        sizes = Sizes(experts, shared, top_k)
        path = _routed(dense, out, sizes, distil, text, seed, revision)
    if json:
        return print_json({"folder": str(path), "experts": sizes.routed, "shared": shared, "exact": exact})
    on = "all of them" if exact else f"{top_k} of the routed ones"
    say(f"{path}: {sizes.routed} routed experts and {shared} shared groups in each layer, {on} on.")
    say(f"Its experts are groups of the neurons of a dense network ({dense}). Next: workbench inspect {path}")
    return None


def _routed(
    dense: str, out: Path, sizes: Sizes, tokens: int, text: Path | None, seed: int, revision: str | None
) -> Path:
    from workbench.factorization import Learning, factorize_routed

    learning = Learning(tokens, None if text is None else given_path(text))
    return factorize_routed(
        dense, given_path(out), sizes, learning, seed=seed, revision=revision, progress=True, said=_say_curve
    )


def _say_curve(line: dict[str, Any]) -> None:
    if "held_out" in line:
        lost = ", ".join(f"{kind} {nats:+.3f}" for kind, _, nats in line["held_out"])
        say(f"{line['tokens']:,} tokens: nats a token over the dense model on text held out: {lost}")
    else:
        seen = ", ".join(f"{nats:.3f} with {k} experts" for k, nats in line["nats"].items())
        say(f"{line['tokens']:,} tokens: nats a token from the dense model's distributions: {seen}")
