"""A recipe out of a TOML file or a bundled one by its name: read, checked, the first mistake as one sentence."""

import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from probes.catalogue import RANKERS
from probes.renamed import old_words
from workbench import WorkbenchError
from workbench.bundled import bundled_path
from workbench.errors import suggestion
from workbench.paths import given_path

from .consistency import check_recipe
from .mistakes import sentence
from .recipe import Recipe
from .sections import Prompts


def read_recipe(source: str | Path, *, begun: bool = False) -> Recipe:
    """The recipe in a TOML file, or a bundled one by name (`mote`), checked.

    Prompt files are looked for beside the recipe first; in what comes back their paths are absolute, bundled names stay.
    begun: it lies in a run, which an earlier version may have begun, so old names of options are read as today's.
    Raises `WorkbenchError`, one sentence with the place in the file, for the first mistake.
    """
    path = find_recipe(source)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise WorkbenchError(f"The recipe '{path}' cannot be read ({error.strerror}).") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise WorkbenchError(f"The recipe '{path}' is not TOML: {error}.") from error
    return recipe_from(_by_todays_names(data) if begun else data, str(source), path.parent)


def _by_todays_names(data: dict[str, Any]) -> dict[str, Any]:
    """What is no recipe stays as it is, and is refused with its place by `recipe_from`."""
    match data.get("rankings"):
        case [*rankings]:
            return data | {"rankings": [_renamed(ranking) for ranking in rankings]}
    return data


def _renamed(ranking: Any) -> Any:
    match ranking:
        case {"method": str(method), "options": {**options}} if method in RANKERS:
            words = old_words(RANKERS[method].load())
            return ranking | {"options": {words.get(name, name): value for name, value in options.items()}}
    return ranking


def recipe_from(data: dict[str, Any], where: str = "the recipe", folder: Path = Path()) -> Recipe:
    """The recipe in `data`, as tomllib reads it; relative prompt files are looked for in `folder` first."""
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
