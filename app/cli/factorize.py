"""`workbench factorize`: a dense checkpoint as a folder of an MoE architecture that transformers has."""

from pathlib import Path
from typing import Annotated

import typer

from workbench import WorkbenchError
from workbench.paths import given_path

from ..terminal import print_json, say, without_bars
from .options import Json


def factorize(
    dense: Annotated[str, typer.Argument(metavar="DENSE", help="A folder, a Hugging Face id, or a GGUF file.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder for the MoE model.")],
    experts: Annotated[
        int, typer.Option(min=2, help="Groups of neurons in each layer, the shared ones included.")
    ] = 32,
    shared: Annotated[int, typer.Option(min=0, help="How many of the groups are the shared expert.")] = 4,
    top_k: Annotated[int, typer.Option(min=1, help="Routed experts of a token.")] = 20,
    exact: Annotated[bool, typer.Option("--exact", help="Every expert is on: the same function as DENSE.")] = False,
    seed: Annotated[int, typer.Option(help="Deals the neurons into groups.")] = 0,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a Hugging Face id.")] = None,
    json: Json = False,
) -> None:
    """Rewrite a dense model as a mixture of experts: its neurons in groups, under an architecture that transformers has.

    The experts are groups of a dense network; the folder, its card and `workbench inspect` say so. What no architecture holds is
    refused before any work. The same command goes on where it was stopped.
    """
    from workbench.factorization import Sizes, factorize

    if not exact:
        raise WorkbenchError(
            "Without --exact a token gets some of the experts, and routers that choose them have to be learned; give --exact "
            "for a model that has every expert on."
        )
    sizes = Sizes(experts, shared, min(top_k, experts - shared))
    without_bars()
    path = factorize(dense, given_path(out), sizes, seed=seed, revision=revision, progress=True)
    if json:
        return print_json({"folder": str(path), "experts": sizes.routed, "shared": shared, "exact": exact})
    say(f"{path}: {sizes.routed} routed experts and {shared} shared groups in each layer, all of them on.")
    say(f"Its experts are groups of the neurons of a dense network ({dense}). Next: workbench inspect {path}")
    return None
