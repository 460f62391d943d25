"""Text is text and names are names: prompts, stores and URLs that would do something if they were read otherwise."""

import http.client
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.app.browser.desk import LOCAL

EVIL = (
    "<b>bold</b><script>alert(1)</script><img src=x onerror=alert(2)>![x](http://x.invalid/a.png) **bold** "
    "[click](javascript:alert(3)) \x1b[31m\x00 \u202eright to left\u202c &lt;i&gt; $x^2$ :material/home: {{7*7}}"
)


def quiet(desk):
    """Nothing was read as HTML or Markdown, no dialog opened, no request left this machine."""
    assert desk.marked_up() == []
    assert not desk.dialogs
    assert not desk.abroad()
    assert not desk.complaints


def test_a_hostile_question_is_shown_as_text(desk):
    desk.open(plan="off L2E8").ask(EVIL)
    shown = desk.answered_any().question
    for part in ("<b>bold</b><script>alert(1)</script>", "![x](http://x.invalid/a.png) **bold**", "{{7*7}}", "$x^2$"):
        assert part in shown
    assert not {"\x1b", "\x00", "\u202e"} & set(shown)
    desk.settle()
    desk.chip_at("steered", 0)
    desk.page.get_by_text("of the steered answer").wait_for()
    quiet(desk.settle())


def test_a_hundred_thousand_characters_are_refused_with_a_sentence_and_the_page_goes_on(desk):
    long = ("<b>bold</b> " * 10_000)[:100_000]
    desk.open().ask(long)
    found = desk.answered_any()
    assert len(found.errors) == 1
    assert "takes 512" in found.errors[0]
    assert found.question.startswith("<b>bold</b> <b>bold</b>")
    assert len(found.question) < 3000
    quiet(desk)
    desk.ask("calculate 432 + 497?")
    assert desk.answered("calculate 432 + 497?").base


def test_a_hostile_prompt_on_the_page_of_tokens_is_shown_as_text(desk):
    desk.open("tokens")
    desk.page.get_by_text("a prompt of your own").click()
    desk.settle()  # until then "Prompt" is the box that chooses a stored one
    box = desk.page.get_by_label("Prompt", exact=True)
    box.fill(EVIL)
    desk.settle().press("Read it")
    desk.page.locator(".st-key-tokens-text").wait_for()
    assert "<script>" in "".join(desk.settle().chips("tokens-text"))
    quiet(desk)
    box.fill("long <b>bold</b> " * 6000)
    desk.press("Read it")
    desk.page.get_by_test_id("stAlert").wait_for()
    assert "takes 512" in desk.settle().errors()[0]


@pytest.mark.parametrize("page", ["", "atlas", "tokens", "probes", "super-experts", "captures"])
def test_a_hostile_store_is_shown_as_text(desk, page):
    desk.open(page, model="tiny/olmoe", store="hostile")
    assert not [e for e in desk.errors() if "page failed" in e]
    quiet(desk)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("store", "/etc"),
        ("store", "../../etc/passwd"),
        ("model", "/etc/passwd"),
        ("plan", "<img src=x onerror=alert(1)>"),
    ],
)
def test_a_url_that_asks_for_anything_but_a_name_gets_a_sentence(desk, name, value):
    desk.open(**{name: value})
    assert len(desk.errors()) == 1
    quiet(desk)


ROOT_FILES = ("etc/passwd", "../../../../../../etc/passwd", "..%2f..%2f..%2f..%2f..%2fetc%2fpasswd", "app/page.py")
ROUTES = (
    "",
    "media/",
    "app/static/",
    "static/",
    "component/x/",
    "_stcore/",
    "_stcore/bidi-components/workbench_board/",
)


def test_no_url_opens_a_file(dashboard):
    server = urlsplit(dashboard)
    for path in (f"/{route}{file}" for route in ROUTES for file in ROOT_FILES):
        connection = http.client.HTTPConnection(server.hostname, server.port, timeout=10)
        connection.request("GET", path)  # as it is: a browser would shorten the dots
        answer = connection.getresponse().read()
        connection.close()
        assert b"root:" not in answer, path
        assert b"workbench_app" not in answer, path


def test_the_server_listens_on_this_machine_alone(dashboard):
    server = urlsplit(dashboard)
    assert server.hostname in LOCAL
    listening = [
        line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if line.split()[3] == "0A"
    ]
    port = f":{server.port:04X}"
    assert [at for at in listening if at.endswith(port)] == [
        f"{socket.inet_aton('127.0.0.1')[::-1].hex().upper()}{port}"
    ]
