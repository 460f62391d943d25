"""An index is asked the way pip is set up."""

import pytest

from workbench.checkpoints.index import Pip, connect, settings

LISTED = """\
:env:.default-timeout='180'
download.cert='/download.pem'
global.cert='/global.pem'
global.index-url='https://me:secret@mirror.example/simple'
global.extra-index-url='file:///opt/pypi https://other.example/simple'
install.index-url='https://not.example'
"""


def test_pip_s_configuration_is_read() -> None:
    assert settings(LISTED) == {
        "cert": "/download.pem",
        "index-url": "https://me:secret@mirror.example/simple",
        "extra-index-url": "file:///opt/pypi https://other.example/simple",
    }


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Nothing of this machine's set-up."""
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CERT", "PIP_PROXY", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return monkeypatch


def test_without_a_word_it_is_pypi(alone: pytest.MonkeyPatch) -> None:
    assert Pip.asked() == Pip(("https://pypi.org/simple",))


def test_variables_win_over_files_and_indexes_on_a_disk_are_left_out(alone: pytest.MonkeyPatch, tmp_path) -> None:
    file = tmp_path / "pip.conf"
    file.write_text("[global]\nindex-url = https://file.example/simple\nproxy = http://proxy.example:3128\n")
    alone.setenv("PIP_CONFIG_FILE", str(file))
    found = Pip.asked()
    assert (found.indexes, found.proxy) == (("https://file.example/simple",), "http://proxy.example:3128")
    alone.setenv("PIP_INDEX_URL", "https://mine.example/simple")
    alone.setenv("PIP_EXTRA_INDEX_URL", "file:///opt/pypi https://other.example/simple")
    alone.setenv("PIP_CERT", "/some.pem")
    assert Pip.asked() == Pip(
        ("https://mine.example/simple", "https://other.example/simple"), "/some.pem", "http://proxy.example:3128"
    )


def test_a_connection_goes_the_way_of_pip() -> None:
    with connect(Pip((), "/some.pem", "http://proxy.example:3128")) as session:
        assert session.verify == "/some.pem"
        assert session.proxies["https"] == "http://proxy.example:3128"
        assert not session.trust_env  # else NO_PROXY and HTTPS_PROXY would win over it
    with connect(Pip(())) as session:
        assert session.verify is True
        assert session.trust_env
