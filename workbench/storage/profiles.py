"""What ~/.aws tells where the environment is silent: keys, region and endpoint of a profile, as Amazon's own tools read them.

AWS_PROFILE names it, else it is `default`; the files may lie elsewhere (AWS_SHARED_CREDENTIALS_FILE, AWS_CONFIG_FILE). A variable
of the environment goes before what a profile says. Roles, single sign-on and processes that print keys are not followed.
"""

import os
from collections.abc import Iterable, Mapping
from configparser import ConfigParser, Error
from typing import NamedTuple

from workbench.errors import WorkbenchError, suggestion
from workbench.paths import given_path

_FILES = {"AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials", "AWS_CONFIG_FILE": "~/.aws/config"}
_KEYS = {"aws_access_key_id": "access_key_id", "aws_secret_access_key": "secret_access_key"}
_KEYS |= {"aws_session_token": "session_token"}
_OF_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SKIP_SIGNATURE")
_ELSEWHERE = (
    "role_arn",
    "sso_session",
    "sso_account_id",
    "credential_process",
    "web_identity_token_file",
    "login_session",
)
ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")


class Profile(NamedTuple):
    """Options of obstore's `S3Store` that the environment does not give, and a file of certificates."""

    options: dict[str, str]
    ca_bundle: str | None


def profile() -> Profile:
    """What the profile in force adds to the environment; nothing where there is none.

    Raises `WorkbenchError` for a profile that is named and not there, for one that is named and has its keys from elsewhere, and
    for a file that cannot be read, none of whose lines it repeats.
    """
    named = os.environ.get("AWS_PROFILE") or os.environ.get("AWS_DEFAULT_PROFILE")
    name = named or "default"
    profiles = _read()
    found = profiles.get(name, {})
    if named and name not in profiles:
        raise WorkbenchError(
            f"AWS_PROFILE names '{name}', which neither {' nor '.join(_places())} has{suggestion(name, list(profiles)) or ';'} "
            f"name one that is there, or none."
        )
    options = {ours: found[theirs] for theirs, ours in _KEYS.items() if found.get(theirs)}
    if any(os.environ.get(variable) for variable in _OF_KEYS):
        options = {}  # keys go together: those of the environment, or those of the profile
    elif named and "access_key_id" not in options and (ways := [key for key in _ELSEWHERE if key in found]):
        raise WorkbenchError(
            f"The profile '{name}' has its keys from elsewhere ({', '.join(ways)}), which is not followed here; give them in the "
            f'environment, as `eval "$(aws configure export-credentials --profile {name} --format env)"` does.'
        )
    for key, option, variables in (("region", "region", REGIONS), ("endpoint_url", "endpoint", ENDPOINTS)):
        if found.get(key) and not any(os.environ.get(variable) for variable in variables):
            options[option] = found[key]
    return Profile(options, found.get("ca_bundle"))


def _places() -> Iterable[str]:
    return [os.environ.get(variable) or usual for variable, usual in _FILES.items()]


def _read() -> Mapping[str, dict[str, str]]:
    """Every profile by name; what the credentials file says goes before what the config file says."""
    found: dict[str, dict[str, str]] = {}
    for place in _places():
        parser = ConfigParser(interpolation=None, strict=False, default_section="no section is shared")
        try:
            parser.read(given_path(place), encoding="utf-8")
        except (Error, OSError, UnicodeDecodeError):
            raise WorkbenchError(
                f"'{place}' cannot be read as Amazon's tools write it; correct it, or name another."
            ) from None
        for section in parser.sections():
            name = section.removeprefix("profile ").strip()
            found[name] = {**parser[section], **found.get(name, {})}
    return found
