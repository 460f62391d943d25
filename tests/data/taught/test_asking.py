"""Every question is answered once, and an answer does not hang on what else is in its batch."""

from smollm2.taught.asking import answers
from smollm2.taught.questions import lines

from workbench import load


def test_batches_do_not_matter(monkeypatch):
    some = [line for line in lines("ranking") if line["id"].endswith(("0", "5"))]
    monkeypatch.setattr("smollm2.taught.asking.lines", lambda split: some)
    demo = load("demo")
    alone = answers(demo.hf, demo.tokenizer, "ranking", new=4, rows=1)
    assert alone.keys() == {line["id"] for line in some}
    assert answers(demo.hf, demo.tokenizer, "ranking", new=4, rows=7) == alone
