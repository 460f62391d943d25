"""A capture to the S3 server with nothing in the environment: keys, region and endpoint out of ~/.aws, told to nobody."""

import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from tests.scale.replicas import ROOT
from tests.scale.s3_server import BUCKET, KEY, SECRET, S3Server
from workbench.paths import Address
from workbench.storage import disk_of

CREDENTIALS = """[tests]
aws_access_key_id = {key}
aws_secret_access_key = {secret}
[wrong]
aws_access_key_id = {key}
aws_secret_access_key = {secret}x
"""


@pytest.fixture
def home(server: S3Server, tmp_path: Path) -> Path:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text(CREDENTIALS.format(key=KEY, secret=SECRET))
    said = "".join(
        f"[profile {name}]\nregion = us-east-1\nendpoint_url = {server.url}\n" for name in ("tests", "wrong")
    )
    (tmp_path / ".aws" / "config").write_text(said)
    return tmp_path


def run(home: Path, profile: str, *words: object) -> subprocess.CompletedProcess[str]:
    silent = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment = {**silent, "HOME": str(home), "AWS_PROFILE": profile}
    command = [sys.executable, "-m", "workbench_app", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


def test_a_store_by_a_profile(reached: S3Server, home: Path) -> None:
    place = Address("s3", BUCKET, f"stores/{uuid.uuid4().hex}")
    (home / "prompts.jsonl").write_text('{"id": "a", "text": "hello"}\n')
    said = [
        run(home, "tests", "capture", "demo", home / "prompts.jsonl", "--store", place, "--json"),
        run(home, "tests", "store", "check", place),
        run(home, "wrong", "store", "info", place),
        run(home, "none", "store", "info", place),
    ]
    assert [one.returncode for one in said] == [0, 0, 2, 2], said
    assert "refuses this (SignatureDoesNotMatch); check AWS_ACCESS_KEY_ID" in said[2].stderr
    assert said[3].stderr.startswith("AWS_PROFILE names 'none', which neither ~/.aws/credentials nor ~/.aws/config has")
    assert not [one.args for one in said if SECRET in one.stdout + one.stderr]
    disk = disk_of(place)
    written = {entry.key: disk.read(entry.key) for entry in disk.list()}
    assert "manifest.json" in written
    assert not [name for name, content in written.items() if SECRET.encode() in content]
