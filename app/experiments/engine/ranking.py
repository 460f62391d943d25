"""A model's captures and rankings in a run: captured once, ranked once, read again when the run is resumed."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from probes.catalogue import ranker
from probes.options import options_for
from probes.ranking import ExpertScores
from workbench import PromptSet, Store, WorkbenchError, open_store
from workbench.capturing import Options, capture_with
from workbench.comparison import expert_loads
from workbench.progress import Meter, Progress, Report
from workbench.storage import publish, temporary

from ..recipe import Ranking, Recipe, generated
from .abilities import kept
from .arms import Ranked
from .planning import ranking_sets
from .unit_files import about_unit, read_unit, write_unit

if TYPE_CHECKING:
    from collections.abc import Callable

    from workbench import MoEModel


def captured(
    run: Path,
    recipe: Recipe,
    number: int,
    sets: Mapping[str, PromptSet],
    model: "Callable[[], MoEModel]",
    meter: Meter,
    shard: tuple[int, int] | None = None,
) -> dict[str, Store]:
    """The stores of the ranking sets by name; `model` is asked for only where a capture is not complete.

    shard: (rank, world) of a process that captures beside others, as `capture` takes it
    """
    found: dict[str, Store] = {}
    asked: dict[str, Any] = recipe.capture.model_dump() | {"batch_tokens": recipe.batch_tokens, "seed": recipe.seed}
    for name in ranking_sets(recipe):
        path = run / store_path(recipe, number, name)
        if (path / "manifest.json").is_file():
            found[name] = open_store(path)
            continue
        asked["generate"] = generated(recipe, name)
        opened = model()
        asked["keep"] = kept(recipe, opened)
        options = Options(**asked)
        found[name] = capture_with(opened, sets[name], path, options, shard=shard, progress=_into(meter))
    return found


def store_path(recipe: Recipe, number: int, prompts: str) -> str:
    """Where the store of a model's ranking set lies in the run."""
    return f"stores/{number:02}-{list(recipe.prompts).index(prompts):02}"


def scores_path(number: int, ranking: int) -> str:
    """Where a model's scores of a ranking lie in the run."""
    return f"units/{number:02}-scores-{ranking:02}.parquet"


def residuals_path(recipe: Recipe, number: int, prompts: str) -> str:
    """Where the sizes of a model's residual stream on a ranking set lie in the run."""
    return f"units/{number:02}-residuals-{list(recipe.prompts).index(prompts):02}.parquet"


def write_residuals(run: Path, recipe: Recipe, number: int, stores: Mapping[str, Store]) -> None:
    """Writes how large the residual stream of a model gets on each ranking set, where that was captured and is not known."""
    for name, store in stores.items():
        path = residuals_path(recipe, number, name)
        if store.has("residual") and not (run / path).is_file():
            write_unit(run, path, _largest(store))


def rank(run: Path, recipe: Recipe, number: int, stores: Mapping[str, Store], meter: Meter) -> Ranked:
    """Every ranking of a model: made where its file is missing, else read."""
    for i, ranking in enumerate(recipe.rankings):
        if not (run / scores_path(number, i)).is_file():
            meter.say(f"Ranking by {ranking.method}: {ranking.name}")
            _make(run, scores_path(number, i), i, ranking, stores[ranking.prompts])
    scores, failed = read_scores(run, recipe, number)
    loads: dict[str, pd.DataFrame] = {}
    by_store = {name: expert_loads(store) for name, store in stores.items()}
    for ranking in recipe.rankings:
        loads[ranking.name] = by_store[ranking.prompts]
    return Ranked.of(scores, loads, failed)


def _largest(store: Store) -> pd.DataFrame:
    """Largest absolute value of the residual stream after each layer (-1: the embedding), over all tokens of a store."""
    largest: dict[int, float] = {}
    for batch in store.scan("residual", ["layer", "max_abs"]):
        layer = batch["layer"][0].as_py()
        found = np.fmax.reduce(batch["max_abs"].to_numpy(zero_copy_only=False))
        largest[layer] = float(np.fmax(found, largest.get(layer, 0.0)))
    return pd.DataFrame(sorted(largest.items()), columns=["layer", "largest"])


def _make(run: Path, path: str, number: int, ranking: Ranking, store: Store) -> None:
    """Scores as a file; of a ranking that this store does not allow, the reason."""
    try:
        probe = ranker(ranking.method)
        found: ExpertScores = probe.load()(store, **options_for(probe, ranking.options))
    except WorkbenchError as error:
        write_unit(run, path, pd.DataFrame(), {"failed": str(error)})
        return
    except (TypeError, ValueError, AttributeError) as error:
        raise WorkbenchError(
            f"'rankings[{number}].options': {ranking.method} cannot be computed with {ranking.options} ({error}); give values "
            f"of the right kind."
        ) from error
    part = temporary(run, path)
    found.to_parquet(part)
    publish(run, part, path)


def read_scores(run: Path, recipe: Recipe, number: int) -> tuple[dict[str, ExpertScores], dict[str, str]]:
    """A model's scores by the ranking's name, and why others could not be made."""
    scores, failed = dict[str, ExpertScores](), dict[str, str]()
    for i, ranking in enumerate(recipe.rankings):
        path = run / scores_path(number, i)
        about = about_unit(read_unit(path))
        if "failed" in about:
            failed[ranking.name] = about["failed"]
        else:
            scores[ranking.name] = ExpertScores.from_parquet(path)
    return scores, failed


def _into(meter: Meter) -> Report:
    """A capture's progress as part of the run's."""
    done = [0]

    def report(progress: Progress) -> None:
        if progress.message:
            meter.say(progress.message)
        elif progress.done > done[0]:
            meter.forwarded(progress.done - done[0])
            done[0] = progress.done

    return report
