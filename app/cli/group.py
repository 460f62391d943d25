"""All commands as one, which ends with one sentence and an exit code whatever goes wrong.

0 done; 1 it ran and the answer is no (a damaged store, a plan that changed nothing); 2 it cannot be done, with one sentence
on stderr; 130 Ctrl-C.
"""

import shlex
import warnings
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from workbench import WorkbenchError, __version__
from workbench.errors import NotCompared
from workbench.storage import Outage

from ..terminal import warn
from . import capture, demo, every_probe, factorize, models, rank, run, serve, steer, store

_WORDS = "workbench.words"
PYTHONS_OWN = warnings.showwarning
# typer carries click under a private name; its errors are known by their public heir
_UsageError: Any = typer.BadParameter.__base__


class PlainErrors(TyperGroup):
    """A group whose commands end with one sentence and a code instead of a traceback."""

    def make_context(self, info_name: Any, args: list[str], *given: Any, **how: Any) -> Any:
        """Reads the options before the command; an unknown one is one sentence."""
        words = list(args)  # which reading takes away
        try:
            context = super().make_context(info_name, args, *given, **how)
        except _UsageError as error:
            raise _refused(error) from error
        context.meta[_WORDS] = words
        return context

    def invoke(self, ctx: Any) -> Any:
        """Runs the command; what the library and the system refuse becomes exit code 2, Ctrl-C 130."""
        try:
            return super().invoke(ctx)
        except _UsageError as error:
            raise _refused(error) from error
        except Outage as error:
            warn(f"{error} The command that goes on: {shlex.join(['workbench', *ctx.meta[_WORDS]])}")
            raise typer.Exit(2) from error
        except WorkbenchError as error:
            warn(error)
            raise typer.Exit(2) from error
        except OSError as error:
            warn(f"{error.strerror or error}: '{error.filename}'; choose another place." if error.filename else error)
            raise typer.Exit(2) from error
        except KeyboardInterrupt as error:
            raise typer.Exit(130) from error  # `__main__` says that it stopped


def _refused(error: Any) -> Exception:
    """A wrong option or argument as one sentence; the help that a command without any arguments shows stays as it is."""
    if type(error).__name__ == "NoArgsIsHelpError":
        return error
    word = getattr(error, "option_name", None)
    if word in ("--backend", "--remote"):
        warn(
            f"{word} is no option any more: the model is loaded on its engine, --engine nnsight here or --engine ndif there."
        )
        return typer.Exit(2)
    about = error.ctx.command_path if error.ctx is not None else "workbench"
    if word == "--engine" and about == "workbench run":
        warn('--engine is no option of `workbench run`: a model of the recipe says what runs it, engine = "nnsight".')
        return typer.Exit(2)
    said = error.format_message().rstrip(".")
    warn(f"{said}{' ' if said.endswith('?') else '; '}`{about} -h` says what can be given.")
    return typer.Exit(2)


app = typer.Typer(
    cls=PlainErrors,
    name="workbench",
    help="See what the experts of a Mixture-of-Experts language model do, rank them, and steer the model by them.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo.demo)
app.add_typer(models.app, name="models")
app.command("inspect")(models.inspect)
app.command("factorize")(factorize.factorize)
app.command("capture")(capture.capture)
app.command("rank")(rank.rank)
app.command("expert")(every_probe.expert)
app.add_typer(store.app, name="store")
app.command("steer")(steer.steer)
app.command("compare")(steer.compare)
app.command("run")(run.run)
app.command("report")(run.report)
app.command("serve", context_settings=serve.PASSED_ON)(serve.serve)
app.command("app")(demo.dashboard)


def _showing_each_once() -> Callable[..., None]:
    """Shows a warning: a note of ours as a line for the user, a library's as it is; each text once in a command."""
    seen: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *rest: Any) -> None:
        if str(message) in seen:
            return
        seen.add(str(message))
        warn(message) if issubclass(category, NotCompared) else PYTHONS_OWN(message, category, *rest)

    return show


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"workbench {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options that come before the command."""
    warnings.showwarning = _showing_each_once()
