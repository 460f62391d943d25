"""What training added to a dense model, as a file of at most a few megabytes: groups of neurons, routers, low-rank updates.

Names are those of the dense model's modules (data/checkpoints/README.md). A file that does not fit its model whole is refused.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from workbench.checkpoints.checkpoint import STATED, TENSORS, Base, Checkpoint, read_checkpoint, stated
from workbench.errors import WorkbenchError, listed
from workbench.storage import replacing, sha256, write_json

if TYPE_CHECKING:
    from torch import Tensor, dtype

PROJECTIONS = (
    *(f"self_attn.{name}_proj" for name in ("q", "k", "v", "o")),
    *(f"mlp.{name}_proj" for name in ("gate", "up", "down")),
)
NORMS = ("input_layernorm", "post_attention_layernorm")
PARTS = ("gate_proj", "up_proj", "down_proj")


class Additions(NamedTuple):
    """How many experts a layer has, and the tensors by their names in the file."""

    experts: int
    shared: int
    top_k: int
    tensors: "Mapping[str, Tensor]"


class Fits(NamedTuple):
    """What a tensor has to be; None in the shape is the rank of an update."""

    dtype: "dtype"
    shape: tuple[int | None, ...]
    needed: bool = False


def read_additions(checkpoint: Checkpoint) -> Additions:
    """The tensors of a checkpoint, and those of its base beside them.

    Raises `WorkbenchError` where a file is not the one that `additions.json` is of, and for a base that is another.
    """
    own = _own(checkpoint)
    if checkpoint.base is None:
        return Additions(checkpoint.experts, checkpoint.shared, checkpoint.top_k, own)
    found = _of_base(checkpoint, checkpoint.base)
    if found is None or set(own) & set(found):
        raise WorkbenchError(
            f"The additions of {checkpoint.name} are for another {checkpoint.base.name} than lies beside them; install the "
            f"workbench again."
        )
    return Additions(checkpoint.experts, checkpoint.shared, checkpoint.top_k, {**found, **own})


def _of_base(checkpoint: Checkpoint, stated: Base) -> "Mapping[str, Tensor] | None":
    """The tensors of the base; None where it is not there, is another one, or has a base itself."""
    folder = checkpoint.folder.parent / stated.name
    if not (folder / STATED).is_file():
        return None
    base = read_checkpoint(folder)
    of = [(x.gguf, x.experts, x.shared, x.top_k) for x in (base, checkpoint)]
    return _own(base) if base.base is None and base.tensors == stated.tensors and of[0] == of[1] else None


def _own(checkpoint: Checkpoint) -> "Mapping[str, Tensor]":
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = checkpoint.folder / TENSORS
    try:
        whole = sha256(path) == checkpoint.tensors
        tensors = load_file(path) if whole else {}
    except (OSError, SafetensorError) as error:
        raise WorkbenchError(f"'{path}' cannot be read ({error}); install the workbench again.") from error
    if not whole:
        raise WorkbenchError(
            f"'{path}' is damaged: its SHA-256 is not the one in {STATED} beside it; install the workbench again."
        )
    return tensors


def write_additions(checkpoint: Checkpoint, tensors: "Mapping[str, Tensor]") -> Checkpoint:
    """Writes both files into the checkpoint's folder; the checkpoint with the SHA-256 of what was written."""
    from safetensors.torch import save_file

    checkpoint.folder.mkdir(parents=True, exist_ok=True)
    path = checkpoint.folder / TENSORS
    with replacing(path) as part:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, part)
    written = checkpoint._replace(tensors=sha256(path))
    write_json(checkpoint.folder, STATED, stated(written))
    return written


def fitting(dense: Any, additions: Additions) -> dict[str, Fits]:
    """What every tensor for this dense model has to be, by name."""
    import torch

    half, hidden = torch.float16, dense.config.hidden_size
    found = {"norm.weight": Fits(half, (hidden,))}
    count = additions.experts + additions.shared
    size, rest = divmod(dense.config.intermediate_size, count)
    if rest:
        raise WorkbenchError(
            f"The {dense.config.intermediate_size} neurons of a layer do not lie in {count} groups of one size "
            f"({additions.experts} experts and {additions.shared} shared); the additions are of another model."
        )
    for i, layer in enumerate(dense.model.layers):
        at = f"layers.{i}."
        found[f"{at}groups"] = Fits(torch.int16, (count, size), needed=True)
        found[f"{at}router.weight"] = Fits(half, (additions.experts, hidden), needed=True)
        found[f"{at}router.bias"] = Fits(torch.float32, (additions.experts,), needed=True)
        found |= {f"{at}{norm}.weight": Fits(half, (hidden,)) for norm in NORMS}
        for name in PROJECTIONS:
            wide, narrow = layer.get_submodule(name).weight.shape
            found |= {f"{at}{name}.a": Fits(half, (None, narrow)), f"{at}{name}.b": Fits(half, (wide, None))}
        for expert in range(additions.experts):
            shapes = ((size, hidden), (size, hidden), (hidden, size))
            found |= {f"{at}experts.{expert}.{name}": Fits(half, s) for name, s in zip(PARTS, shapes, strict=True)}
    return found


def check_fit(dense: Any, additions: Additions) -> None:
    """Raises `WorkbenchError` unless every tensor has a place in the dense model and nothing is missing."""
    known, tensors = fitting(dense, additions), additions.tensors
    if strange := sorted(set(tensors) - set(known)):
        raise WorkbenchError(_misfit(f"{listed(strange, 3)} have no place in the {type(dense).__name__}"))
    lost = {name for name, wanted in known.items() if wanted.needed} | {_other(n) for n in tensors if n[-2:] in _ENDS}
    if lost := sorted(lost - set(tensors)):
        raise WorkbenchError(_misfit(f"{listed(lost, 3)} are missing"))
    for name, tensor in tensors.items():
        if why := _wrong(name, known[name], tensors):
            raise WorkbenchError(_misfit(f"{name} {why}"))
        if name.endswith(".groups") and sorted(tensor.flatten().tolist()) != list(range(tensor.numel())):
            raise WorkbenchError(_misfit(f"{name} does not hold every one of {tensor.numel()} neurons once"))


_ENDS = (".a", ".b")


def _other(name: str) -> str:
    """Of an update's two factors the other one."""
    return name[:-1] + ("b" if name.endswith("a") else "a")


def _wrong(name: str, wanted: Fits, tensors: "Mapping[str, Tensor]") -> str | None:
    tensor = tensors[name]
    if tensor.dtype != wanted.dtype:
        return f"is {tensor.dtype}, not {wanted.dtype}"
    shape = tuple(tensor.shape)
    fits = len(shape) == len(wanted.shape) and all(w in (None, n) for n, w in zip(shape, wanted.shape, strict=True))
    if not fits or 0 in shape:
        return f"has the shape {list(shape)}, not {[n or 'rank' for n in wanted.shape]}"
    if name.endswith(".b") and shape[1] != len(tensors[_other(name)]):
        return f"has rank {shape[1]}, and its .a {len(tensors[_other(name)])}"
    return None if tensor.isfinite().all() else "holds values that are not finite"


def _misfit(what: str) -> str:
    return f"The additions do not fit: {what}; take those that were made for this model."
