"""Every chart of every page in a real browser: clicked with the mouse, with title, units and downloads."""

import csv
import io


def seen(desk, *keys):
    """Each chart answers the mouse, has a title, a title at every axis, its numbers as a file, and nothing complained."""
    for key in keys:
        title, axes = desk.labels(key)
        assert title, key
        assert all(axes), (key, axes)
        assert desk.click_chart(key).strip(), key
        assert desk.chart(key).locator("[data-title^='Download']").count(), key
        assert desk.page.locator(f".st-key-{key}-csv button").count() == 1, key
    assert not desk.errors()
    assert not desk.complaints
    assert not desk.abroad()


def saved(desk, click):
    """Name and content of what a click saves."""
    with desk.page.expect_download() as found:
        click()
    return found.value.suggested_filename, found.value.path().read_bytes()


def test_the_switchboard_saves_its_picture_and_its_numbers(desk):
    desk.open(plan="off L2E8")
    name, content = saved(desk, lambda: desk.press("Picture"))
    assert (name, content[:4]) == ("switchboard.png", b"\x89PNG")
    name, content = saved(desk, lambda: desk.press("Data as CSV"))
    rows = list(csv.DictReader(io.StringIO(content.decode())))
    assert name == "switchboard.csv"
    assert len(rows) == 128
    best = max(rows, key=lambda row: float(row["difference of selection rates"]))
    assert (best["layer"], best["expert"], best["edit"]) == ("2", "8", "off")


def test_the_atlas(desk):
    desk.open("atlas")
    desk.click_expert("L2E8")
    desk.page.get_by_role("heading", name="Expert L2E8").wait_for()
    desk.settle()
    assert "layer=2" in desk.page.url
    seen(desk, "atlas-positions", "atlas-roles", "atlas-partners", "atlas-magnitude", "atlas-entropy")
    name, content = saved(desk, desk.page.locator(".st-key-atlas-entropy-csv button").click)
    assert name == "atlas-entropy.csv"
    assert content.decode().startswith("layer,")
    desk.page.reload()
    desk.settle()
    assert desk.page.get_by_label("Layer", exact=True).first.input_value() == "2"


def test_the_page_of_tokens(desk):
    desk.open("tokens")
    seen(desk, "tokens-path", "tokens-experts")
    desk.page.locator(".st-key-tokens-text").get_by_role("button", name="ank", exact=True).first.click()
    desk.settle()
    assert "position" in desk.labels("tokens-path")[0]


def test_the_page_of_probes(desk):
    desk.open("probes")
    desk.press("Run")
    desk.page.get_by_role("heading", name="ftri of 128 experts").wait_for()
    desk.settle().page.get_by_role("tab", name="Volcano").click()
    seen(desk, "volcano")
    desk.page.get_by_role("tab", name="Make a plan").click()
    desk.page.get_by_text("Selected in the volcano: L").wait_for()  # the click arrived
    desk.settle()
    choose(desk, "Tokens", "prompt")
    desk.settle().press("Run")
    desk.settle().page.get_by_role("tab", name="Compare two probes").click()
    seen(desk, "two-probes")


def choose(desk, label, option):
    """Another entry of a list."""
    desk.page.get_by_label(label, exact=True).first.click()
    desk.page.get_by_role("option", name=option, exact=True).first.click()


def test_the_page_of_super_experts(desk):
    desk.open("super-experts")
    seen(desk, "super-magnitude", "residual")
    desk.page.get_by_role("button", name="Measure with").click()
    seen(desk, "sinks-chart")
    assert desk.text_with("Mean over layers").count("Dose: ") == 1


def test_the_card_of_a_token(desk):
    desk.open(plan="off L2E8; off L2E20").ask("what happened in 1979 in Banke?")
    desk.answered("what happened in 1979 in Banke?", "off L2E8; off L2E20")
    desk.settle().chip("steered", "Singers")
    seen(desk, "alternatives")
