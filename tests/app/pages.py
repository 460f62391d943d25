"""Pages of the dashboard for the tests: one at a time, without a browser, and a store whose every text is hostile."""

import pandas as pd
from streamlit.testing.v1 import AppTest

from tests.support import families
from workbench.store import write_store

_PAGE = """
from workbench_app.dashboard.session.catalog import catalog_from
from workbench_app.dashboard.navigation import PAGES, shown_page

shown_page(catalog_from({arguments!r}), PAGES[{page!r}][1])
"""
HOSTILE = "<script>alert(1)</script>![x](http://a.invalid/b.png)\x1b[2J\u202e**b**"


def opened(page, project, source="demo", *more, **query):
    """The page, run once."""
    arguments = [f"--model={source}", f"--project={project}", *more]
    found = AppTest.from_string(_PAGE.format(arguments=arguments, page=page), default_timeout=120)
    for key, value in query.items():
        found.query_params[key] = value
    return found.run()


def texts(page):
    """Every text of a page that neither raised nor failed, escapes taken away."""
    assert not page.exception
    kinds = (page.text, page.error, page.success, page.info, page.warning, page.caption, page.subheader)
    found = [element.value.replace("\\", "") for kind in kinds for element in kind]
    assert not [said for said in found if "page failed" in said]
    return found


def says(page, part):
    """Whether some text of the page contains this."""
    return any(part in said for said in texts(page))


def hostile_store(path):
    """Two responses of four tokens of tiny/olmoe, whose every text would do something if it were read."""
    anatomy = families.get("olmoe").anatomy
    prompts = [HOSTILE, f"{HOSTILE}2"]
    slots = [
        (prompt, i, layer, slot, (slot + i + n) % anatomy.layer(layer).n_experts)
        for n, prompt in enumerate(prompts) for i in range(4)
        for layer in anatomy.moe_layers for slot in range(anatomy.layer(layer).top_k)
    ]  # fmt: skip
    at = [(prompt, position) for prompt in prompts for position in range(4)]
    tokens = pd.DataFrame(at, columns=["prompt_id", "position"])
    residual = [(*key, layer) for key in at for layer in range(-1, len(anatomy.layers))]
    kept = pd.DataFrame(residual, columns=["prompt_id", "position", "layer"])
    selected = pd.DataFrame(slots, columns=["prompt_id", "position", "layer", "slot", "expert"])
    tables = {
        "prompts": pd.DataFrame({"prompt_id": prompts, "text": HOSTILE, "n_tokens": 4}),
        "tokens": tokens.assign(sample=0, token_id=tokens["position"], token=HOSTILE, role="user", generated=False),
        "slots": selected.assign(sample=0, weight=0.5, output_l2=1.0, output_max_abs=1.0, output_argmax=0),
        "residual": kept.assign(sample=0, l2=1.0, max_abs=1.0, median_abs=0.5, argmax=0, routed_change=0.1),
        "labels": pd.DataFrame({"prompt_id": prompts, "name": HOSTILE, "value": [HOSTILE, "b"], "source": "given"}),
    }
    return write_store(path, anatomy, tables)
