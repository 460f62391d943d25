"""The dashboard lists a store on object storage beside those in folders, and every page reads it."""

import uuid

import pytest
from workbench_app.dashboard.navigation import PAGES

from tests.app.pages import opened, says, texts
from workbench.bundled import bundled_path
from workbench.store import Store, copy_store


@pytest.fixture(scope="module")
def store() -> Store:
    return copy_store(bundled_path("demo-store"), f"memory://{uuid.uuid4().hex}/stores/there").store


def test_it_is_listed_and_checked(store: Store, tmp_path):
    page = opened("captures", tmp_path, "demo", f"--store={store.path}", store="there")
    rows = page.dataframe[0].value.set_index("name")
    assert (rows.loc["there", "state"], rows.loc["there", "prompts"]) == ("complete", store.n_prompts)
    page.selectbox(key="stores-one").select("there").run()
    assert says(page.button(key="stores-check").click().run(), "Every file is as it was captured.")


@pytest.mark.parametrize("name", [name for name in PAGES if name != "captures"])
def test_every_page_reads_it(store: Store, tmp_path, name: str):
    assert texts(opened(name, tmp_path, "demo", f"--store={store.path}", store="there"))


def test_all_rankings_of_it_are_set_side_by_side(store: Store, tmp_path):
    page = opened("probes", tmp_path, "demo", f"--store={store.path}", store="there")
    page.toggle(key="all-run").set_value(True).run()
    assert not page.exception
    assert says(page, "A cluster joins rankings whose mean correlation")
