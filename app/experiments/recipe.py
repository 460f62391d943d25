"""A recipe: a whole experiment as one frozen value, read from TOML, checked, and written back with its defaults filled in."""

import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError

from workbench import WorkbenchError
from workbench.bundled import bundled_path
from workbench.errors import suggestion
from workbench.paths import given_path

from .sections import (
    Capture,
    Claim,
    Controls,
    Judge,
    Measure,
    ModelSource,
    Name,
    Natural,
    Paper,
    Plans,
    Prompts,
    Ranking,
    Reference,
    Section,
    Several,
    Statistics,
    as_source,
)  # fmt: skip

Source = Annotated[ModelSource, BeforeValidator(as_source)]


class Recipe(Section):
    """A whole experiment. Everything is crossed: models, plans, and the prompt sets that are measured."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,59}$")]
    """Of the folder under runs/: letters, digits, _ . -"""
    title: str = ""
    """The report's title."""
    question: str = ""
    """What the experiment asks, in one sentence."""
    seed: Natural = 0
    """Of every draw: random experts, resamples, sign flips."""
    batch_tokens: Annotated[int, Field(ge=1, strict=True)] = 4096
    """Tokens that go through the model together, padding and answers included."""
    models: Annotated[tuple[Source, ...], Several, Field(min_length=1)]
    """The models: names, or tables with source, dtype, device, device_map, revision."""
    prompts: dict[Name, Prompts] = Field(min_length=1)
    """Named prompt sets."""
    capture: Capture = Capture()
    """Options of `capture` for the ranking sets."""
    rankings: tuple[Ranking, ...] = ()
    """How experts are ranked."""
    plans: Annotated[tuple[Plans, ...], Field(min_length=1)]
    """What is done to them."""
    controls: Controls = Controls()
    """What every plan is set beside."""
    statistics: Statistics = Statistics()
    """Intervals, tests, correction."""
    measure: Measure = Measure()
    """What is measured beside the answers."""
    judge: Judge | None = None
    """The endpoint of the metric judge."""
    claims: tuple[Claim, ...] = ()
    """Statements to be judged."""
    paper: Paper | None = None
    """Whose claims these are."""
    references: tuple[Reference, ...] = ()
    """The paper's values for single experts."""

    def measured(self) -> dict[str, Prompts]:
        """The prompt sets that arms are measured on, in the recipe's order."""
        return {name: spec for name, spec in self.prompts.items() if spec.role != "ranking"}

    def to_toml(self) -> str:
        """The recipe with every default filled in, as TOML that runs again by itself."""
        import tomli_w

        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))


def read_recipe(source: str | Path) -> Recipe:
    """The recipe in a TOML file, or a bundled one by name (`mote`), checked.

    Prompt files are looked for beside the recipe first; in what comes back their paths are absolute, bundled names stay.
    Raises `WorkbenchError`, one sentence with the place in the file, for the first mistake.
    """
    path = find_recipe(source)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise WorkbenchError(f"The recipe '{path}' cannot be read ({error.strerror}).") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise WorkbenchError(f"The recipe '{path}' is not TOML: {error}.") from error
    return recipe_from(data, str(source), path.parent)


def recipe_from(data: dict[str, Any], where: str = "the recipe", folder: Path = Path()) -> Recipe:
    """The recipe in `data`, as tomllib reads it; relative prompt files are looked for in `folder` first."""
    from .consistency import check_recipe
    from .mistakes import sentence

    try:
        recipe = Recipe.model_validate(data)
    except ValidationError as error:
        raise WorkbenchError(sentence(error, Recipe, data, where)) from error
    recipe = recipe.model_copy(update={"prompts": {n: _placed(p, folder) for n, p in recipe.prompts.items()}})
    check_recipe(recipe, where)
    return recipe


def find_recipe(source: str | Path) -> Path:
    """The file as given, or the bundled recipe of that name."""
    path = given_path(source)
    if path.is_file():
        return path
    known = [file.stem for file in sorted(bundled_path("experiments").glob("*.toml"))]
    if path.parent in (Path(), Path("data/experiments")) and path.name.removesuffix(".toml") in known:
        return bundled_path(f"experiments/{path.name.removesuffix('.toml')}.toml")
    bundled = f", or a bundled name: {', '.join(known)}" if known else ""
    raise WorkbenchError(
        f"There is no recipe '{source}'; give a path to a TOML file{bundled}{suggestion(path.stem, known) or '.'}"
    )


def _placed(spec: Prompts, folder: Path) -> Prompts:
    """A prompt file that exists, by its absolute path: the resolved recipe lies in another folder."""
    found = next((p for p in (folder / given_path(spec.source), given_path(spec.source)) if p.is_file()), None)
    return spec if found is None else spec.model_copy(update={"source": str(found.resolve())})
