"""Keys, region and endpoint out of ~/.aws: which profile, what goes before what, and refusals that tell no secret."""

from pathlib import Path

import pytest

from workbench import WorkbenchError
from workbench.storage.profiles import Profile, profile

CREDENTIALS = """
[default]
aws_access_key_id = A
aws_secret_access_key = plain%secret
[other]
aws_access_key_id = B
aws_secret_access_key = b
aws_session_token = t
"""
CONFIG = """
[default]
region = eu-west-1
aws_access_key_id = of the config
[profile other]
region = eu-west-2
endpoint_url = http://127.0.0.1:9
ca_bundle = /bundle.pem
s3 =
  addressing_style = path
[profile role]
role_arn = arn:aws:iam::1:role/x
source_profile = default
"""
DEFAULT = {"access_key_id": "A", "secret_access_key": "plain%secret", "region": "eu-west-1"}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "PROFILE", "DEFAULT_PROFILE", "REGION", "DEFAULT_REGION"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    for name in ("ENDPOINT_URL", "ENDPOINT_URL_S3", "ENDPOINT", "SKIP_SIGNATURE"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text(CREDENTIALS)
    (tmp_path / ".aws" / "config").write_text(CONFIG)
    return tmp_path


def test_the_default_profile() -> None:
    assert profile() == Profile(DEFAULT, None)


def test_the_one_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "other")
    keys = {"access_key_id": "B", "secret_access_key": "b", "session_token": "t"}
    assert profile() == Profile({**keys, "region": "eu-west-2", "endpoint": "http://127.0.0.1:9"}, "/bundle.pem")


@pytest.mark.parametrize(
    ("variable", "gone"),
    [
        ("AWS_ACCESS_KEY_ID", ("access_key_id", "secret_access_key")),
        ("AWS_SKIP_SIGNATURE", ("access_key_id", "secret_access_key")),
        ("AWS_DEFAULT_REGION", ("region",)),
        ("AWS_REGION", ("region",)),
    ],
)
def test_the_environment_goes_before(variable: str, gone: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "true")
    assert profile().options == {key: value for key, value in DEFAULT.items() if key not in gone}


def test_so_does_its_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "other")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:10")
    assert "endpoint" not in profile().options


def test_the_files_may_lie_elsewhere(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "keys").write_text("[default]\naws_access_key_id = C\naws_secret_access_key = c\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "~/keys")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(home / "none"))
    assert profile().options == {"access_key_id": "C", "secret_access_key": "c"}


def test_without_files_there_is_nothing(home: Path) -> None:
    for name in ("credentials", "config"):
        (home / ".aws" / name).unlink()
    assert profile() == Profile({}, None)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "othr",
            r"AWS_PROFILE names 'othr', which neither ~/.aws/credentials nor ~/.aws/config has; did you mean 'other'\?",
        ),
        ("role", r"The profile 'role' has its keys from elsewhere \(role_arn\).*export-credentials --profile role"),
    ],
)
def test_a_profile_that_cannot_be_taken(name: str, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", name)
    with pytest.raises(WorkbenchError, match=sentence):
        profile()


@pytest.mark.parametrize("content", [b"aws_secret_access_key = hidden\n", b"[default]\nhidden\xff\n"])
def test_a_file_that_is_none_is_refused_without_its_lines(home: Path, content: bytes) -> None:
    (home / ".aws" / "credentials").write_bytes(content)
    with pytest.raises(WorkbenchError, match=r"'~/\.aws/credentials' cannot be read") as caught:
        profile()
    assert "hidden" not in str(caught.value)
    assert caught.value.__suppress_context__
