"""`workbench factorize`: a folder that `inspect` reads, and what is refused with code 2 and nothing written."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner
from workbench_app.cli import app

from tests.workbench.factorization.families import byte_tokenizer, held

SIZES = ["--experts", "8", "--shared", "2"]


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dense")
    held("llama", vocab_size=384).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


def test_inspect_says_that_the_experts_are_groups_of_a_dense_network(dense: Path, tmp_path: Path) -> None:
    out = tmp_path / "moe"
    done = CliRunner().invoke(app, ["factorize", str(dense), str(out), "--exact", *SIZES])
    assert done.exit_code == 0, done.output
    assert "to write as glm4_moe in float32" in done.stderr
    said = CliRunner().invoke(app, ["inspect", str(out)])
    assert said.exit_code == 0
    assert "groups of the neurons of a dense network" in said.stdout


def test_what_a_routed_model_loses_is_said_while_it_is_distilled(dense: Path, tmp_path: Path) -> None:
    text, out = tmp_path / "text.jsonl", tmp_path / "moe"
    lines = ({"text": f"{n}: " + f"{n * 7919 % 1000:03} and " * 300} for n in range(60))
    text.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    options = ["--top-k", "3", "--distil", "5000", "--text", str(text), *SIZES]
    done = CliRunner().invoke(app, ["factorize", str(dense), str(out), *options])
    assert done.exit_code == 0, done.output
    assert re.search(
        r"4,096 tokens: nats a token over the dense model on text held out: text [+-]\d\.\d{3}", done.output
    )
    assert "6 routed experts and 2 shared groups in each layer, 3 of the routed ones on" in done.output
    assert "low-rank updates" in (out / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--exact", "--experts", "7"], "numbers of groups that would do: 4, 8"),
        (SIZES, "A token cannot get 20 of 6 routed experts"),
        (["--exact", "--distil", "100", *SIZES], "nothing is learned; leave out --distil and --text, or --exact"),
        (["--text", "nowhere.txt", "--top-k", "3", *SIZES], "The text 'nowhere.txt' cannot be read"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_is_written(
    options: list[str], words: str, dense: Path, tmp_path: Path
) -> None:
    said = CliRunner().invoke(app, ["factorize", str(dense), str(tmp_path / "moe"), *options])
    assert said.exit_code == 2
    assert words in " ".join(said.stderr.split())
    assert not (tmp_path / "moe").exists()
