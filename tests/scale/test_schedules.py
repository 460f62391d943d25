"""Two fixed schedules of mishaps for a capture by four replicas to the S3 server; `make schedules` draws others."""

from pathlib import Path

import pytest

from tests.scale.s3_server import S3Server
from tests.scale.schedules import Schedule, carried_out

pytest.importorskip("ray", reason="ray is not installed; make test-scale installs it")


@pytest.mark.parametrize(
    "schedule", [Schedule(kills=(5, 20)), Schedule(outage=10)], ids=["two killed", "ten seconds without a server"]
)
def test_the_store_is_that_of_one_local_process(schedule: Schedule, own_server: S3Server, tmp_path: Path) -> None:
    carried_out(schedule, own_server, tmp_path)
