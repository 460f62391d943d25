"""Every package that has an `__init__.py` is installed, under the names that imports use; the rest stands in pyproject.toml."""

from setuptools import find_packages, setup

FOLDERS = {"workbench": "workbench", "probes": "probes", "workbench_app": "app"}

found = [f"{name}.{inner}" for name, folder in FOLDERS.items() for inner in find_packages(folder)]
setup(packages=[*FOLDERS, "workbench_data", *found], package_dir={**FOLDERS, "workbench_data": "data"})
