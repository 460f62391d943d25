"""Which tests run a line: a pytest plugin that notes it while the suite runs, and the map read back.

pytest -p tests.mutants.covering     with WORKBENCH_COVERING=FOLDER: a file of coverage.py and one of seconds, a worker
"""

import json
import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from tests.mutants.drawn import FOLDERS

MOST_TESTS = 80  # a mistake's tests, the quickest of every file and function first


class Noting:
    """The plugin of one process."""

    def __init__(self, folder: Path) -> None:
        import coverage

        worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
        self.path = folder / f"{worker}.coverage"
        self.seconds, self.failed = defaultdict[str, float](float), set[str]()
        self.measured = coverage.Coverage(data_file=str(self.path), source=list(FOLDERS), config_file=False)
        self.measured.start()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """What runs from here on is this test's."""
        self.measured.switch_context(nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Its seconds, and whether it passes where nothing is planted."""
        self.seconds[report.nodeid] += report.duration
        if not report.passed:
            self.failed.add(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        """Writes both files."""
        self.measured.stop()
        self.measured.save()
        kept = {test: s for test, s in self.seconds.items() if test not in self.failed}
        self.path.with_suffix(".seconds").write_text(json.dumps(kept))


def pytest_configure(config: Any) -> None:
    """Notes in the processes that run tests, not in the one that hands them out."""
    folder = os.environ.get("WORKBENCH_COVERING")
    is_handing_out = getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput")
    if folder and not is_handing_out:
        config.pluginmanager.register(Noting(Path(folder)))


class Covering(NamedTuple):
    """tests by (file, line); seconds of each test that passes where nothing is planted."""

    tests: dict[tuple[str, int], set[str]]
    seconds: dict[str, float]

    def of(self, file: str, lines: Iterable[int]) -> list[str]:
        """The tests of these lines, the quickest of each function first; of lines run at import, the whole file's."""
        found = set[str]().union(*(self.tests.get((file, n), set()) for n in lines))
        if not found:
            found = set[str]().union(*(t for (f, _), t in self.tests.items() if f == file))
        return _spread(found & self.seconds.keys(), self.seconds)


def _spread(tests: set[str], seconds: dict[str, float]) -> list[str]:
    """Quick before slow, and one of each test function before the second of any."""
    by_function: dict[str, list[str]] = defaultdict(list)
    for test in sorted(tests, key=lambda t: (seconds[t], t)):
        by_function[test.split("[")[0]].append(test)
    ranked = [(i, seconds[t], t) for ts in by_function.values() for i, t in enumerate(ts)]
    return [t for _, _, t in sorted(ranked)][:MOST_TESTS]


def read_covering(folder: Path, root: Path) -> Covering:
    """The map from the files of all workers of a run in the checkout `root`."""
    from coverage import CoverageData

    tests: dict[tuple[str, int], set[str]] = defaultdict(set)
    seconds = dict[str, float]()
    for path in sorted(folder.glob("*.coverage")):
        data = CoverageData(str(path))
        data.read()
        for file in data.measured_files():
            name = Path(file).resolve().relative_to(root.resolve()).as_posix()
            for line, found in data.contexts_by_lineno(file).items():
                tests[name, line] |= {t for t in found if t}
    for path in sorted(folder.glob("*.seconds")):
        seconds |= json.loads(path.read_text())
    return Covering(tests, seconds)
