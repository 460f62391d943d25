"""Run as a script: the driver of a recipe by four workers, with the small recipe over prompts in FOLDER.

python -m tests.scale.spread_recipe FOLDER
"""

import sys
from pathlib import Path

from workbench_app.experiments.spread import run_spread

from tests.support.recipes import make_recipe
from workbench.replicas import Cluster

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    run_spread(make_recipe(folder), folder / "many", Cluster(workers=4), progress=False, own_functions=True)
