"""A second probe is asked for, and downloads are the library's."""

from types import SimpleNamespace

from workbench_app.dashboard.rankings import page as probes_page
from workbench_app.dashboard.widgets import ranking_table as ranked_table

from tests.app.paper import write_on


def test_a_second_probe_is_asked_for_and_downloads_are_the_librarys(tmp_path, monkeypatch):
    paper = write_on(monkeypatch)
    probes_page.compare_probes(None, None, [1])
    assert paper.lines == [
        "text 'Run a second probe, or this one with other options; it can then be compared with this answer.'"
    ]
    written = SimpleNamespace(
        to_csv=lambda path: path.write_text(f"csv {path.name}"), to_parquet=lambda path: path.write_text("parquet")
    )
    assert ranked_table.as_file(written, "csv") == b"csv scores.csv"
    assert ranked_table.as_file(written, "parquet") == b"parquet"
