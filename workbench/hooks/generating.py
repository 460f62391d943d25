"""`generate` told apart from plain forwards, the model's own and a bridge's: both state where the prompt ends."""

from collections.abc import Iterator
from typing import Any

from workbench.errors import WorkbenchError
from workbench.hooks.active import active
from workbench.model import Runtime
from workbench.routing import prompt_length


class GenerateHandle:
    """`generate` told apart from plain forwards: while installed, it states the prompt's length in this context."""

    def __init__(self, runtime: Runtime) -> None:
        uid, hf = runtime.uid, runtime.hf
        self.hf, original = hf, hf.generate
        self.users_own = hf.__dict__.get("generate")  # some libraries set one on the object

        def generate(*args: Any, **kwargs: Any) -> Any:
            _refuse_beams(uid, hf, kwargs)
            named = (kwargs.get(n) for n in ("inputs", "input_ids", "inputs_embeds"))
            prompt = args[0] if args else next((x for x in named if x is not None), None)
            if prompt is None:
                return original(*args, **kwargs)
            with prompt_length(prompt.shape[1]):
                return original(*args, **kwargs)

        hf.generate = generate

    def remove(self) -> None:
        """The model's own `generate` again, or the user's."""
        self.hf.__dict__.pop("generate", None)
        if self.users_own is not None:
            self.hf.generate = self.users_own


def _refuse_beams(uid: int, hf: Any, options: dict[str, Any]) -> None:
    """A beam that overtakes another moves into its row, and what is open in that row would be the other's."""
    now = active(uid)
    if now is None or now.compiled is None or not now.compiled.has_spans:
        return
    beams = options.get("num_beams") or getattr(
        options.get("generation_config") or hf.generation_config, "num_beams", 1
    )
    if (beams or 1) > 1:
        raise WorkbenchError(
            f"Edits between tokens follow each row, and beam search ({beams} beams) moves rows; generate greedily or sample."
        )


class BridgeSteps:
    """While made, the bridge's own decode loop states the prompt's length, so that phases hold with and without a cache."""

    def __init__(self, bridge: Any) -> None:
        self.bridge, own = bridge, bridge._generate_tokens

        def steps(current: Any, prompt: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
            return stating(own(current, prompt, *args, **kwargs), current.shape[1])

        bridge.__dict__["_generate_tokens"] = steps

    def remove(self) -> None:
        """The bridge's own loop again."""
        self.bridge.__dict__.pop("_generate_tokens", None)


def stating(steps: Iterator[Any], columns: int) -> Iterator[Any]:
    """The same steps; only while one runs is the prompt's length stated, never in the caller's own code between them."""
    while True:
        with prompt_length(columns):
            step = next(steps, None)
        if step is None:
            return
        yield step
