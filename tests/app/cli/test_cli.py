"""The command line: what it prints is what the library says, and what it refuses is one sentence and exit code 2."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from workbench_app import terminal
from workbench_app.cli import demo as cli_demo
from workbench_app.terminal.printing import console

from tests.app.cli.printed import run, sentence
from workbench import Plan, load, open_store, steered

MODEL = "tiny/olmoe"
CANARY = "xylophone"


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lines = [
        {"id": f"{kind}{i}", "prompt": f"{CANARY} {kind} {i}", "labels": {"kind": kind}, "pair": str(i)}
        for i in range(4)
        for kind in ("cat", "dog")
    ]
    path = tmp_path_factory.mktemp("prompts") / "pets.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def store(prompts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stores") / "pets"
    said = run("capture", MODEL, prompts, "--store", path, "--generate", 3, "--json")
    assert said.exit_code == 0, said.output
    assert json.loads(said.stdout)["rows"]["prompts"] == 8
    return path


def test_inspect_prints_the_anatomy():
    said = run("inspect", MODEL, "--json")
    assert said.exit_code == 0
    assert json.loads(said.stdout) == json.loads(json.dumps(load(MODEL).anatomy.to_dict()))
    assert "Every layer supports routing" in run("inspect", MODEL).stdout


def test_models_lists_every_tiny_family():
    from workbench.loading.tiny import FAMILIES

    listed = {row["model"] for row in json.loads(run("models", "--json").stdout)}
    assert listed == {"demo", "smollm2-moe", "smollm2-moe-taught", *(f"tiny/{family}" for family in FAMILIES)}


def test_steer_prints_what_plain_generation_gives():
    """Base and steered answers equal transformers' own greedy generation without and within `steered`."""
    edits = ["--off", "L0E3,L1E5", "--force", "L2E3", "--scale", "L1E4=8", "--mute", "L0E0", "--bias", "L2E1=-2"]
    said = run("steer", MODEL, "--prompt", "hello", "--tokens", 6, *edits, "--json")
    assert said.exit_code == 0, said.output
    found = json.loads(said.stdout)
    model = load(MODEL)
    plan = Plan.parse("off L0E3,L1E5; force L2E3; scale L1E4=8; mute L0E0; bias L2E1=-2")
    chat = [{"role": "user", "content": "hello"}]
    ids = model.tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)

    def answer() -> str:
        out = model.hf.generate(**ids, max_new_tokens=6, do_sample=False, pad_token_id=0)[
            0, ids["input_ids"].shape[1] :
        ]
        kept = [i for i in out.tolist() if i not in model.tokenizer.all_special_ids]
        return model.tokenizer.decode(kept).strip()

    assert found["base"] == answer()
    with steered(model, plan):
        assert found["steered"] == answer()
    assert Plan.from_json(json.dumps({"edits": found["plan"]})) == plan
    assert 0 < found["dose"]["slots_changed"] <= found["dose"]["slots"]


def test_steer_says_when_the_plan_changed_nothing():
    said = run("steer", MODEL, "--prompt", "hello", "--tokens", 2, "--scale", "L0E3=1")
    assert said.exit_code == 1
    assert "nothing changed" in said.stdout


def test_capture_rank_and_compare_hand_on_to_each_other(prompts, store, tmp_path):
    plan = tmp_path / "plan.json"
    options = ["--target", "kind=cat", "--baseline", "kind=dog", "--set", "n_permutations=50", "--top", 2]
    said = run("rank", "ftri", store, *options, "--out", plan, "--scores", tmp_path / "s.csv", "--json")
    assert said.exit_code == 0, said.output
    from probes import ExpertScores, ftri

    scores = ftri(open_store(store), "kind=cat", "kind=dog", n_permutations=50)
    assert json.loads(said.stdout) == json.loads(scores.to_json())
    assert Plan.from_json(plan) == Plan.off(scores.top(2))
    assert ExpertScores.from_csv(tmp_path / "s.csv").top(2) == scores.top(2)
    words = ["compare", MODEL, prompts, "--plan", plan, "--metric", "length", "--controls", 1, "--tokens", 4]
    compared = run(*words, "--store", store, "--out", tmp_path / "c.json", "--json")
    assert compared.exit_code == 0, compared.output
    found = json.loads(compared.stdout)
    assert found == json.loads((tmp_path / "c.json").read_text("utf-8"))
    assert {row["match"] for row in found["controls"]} == {"count", "layer", "usage"}
    shown = run(*words)
    assert str(Plan.from_json(plan)).split(";")[0] in " ".join(shown.stdout.split())


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize(("scale", "code"), [("L0E3=1", 1), ("L0E3=2", 0)])
def test_compare_ends_with_1_where_the_plan_changed_nothing(prompts, tmp_path, scale, code, as_json):
    words = ["compare", MODEL, prompts, "--scale", scale, "--metric", "length", "--controls", 0, "--tokens", 2]
    said = run(*words, "--out", tmp_path / "c.json", *(["--json"] if as_json else []))
    assert said.exit_code == code, said.output
    found = json.loads((tmp_path / "c.json").read_text("utf-8"))  # what ran is kept either way
    assert bool(found["dose"]["tokens_changed"]) is (code == 0)


@pytest.mark.parametrize("method", ["usage", "super_experts"])
def test_methods_without_classes_are_ranked_and_shown(store, method):
    said = run("rank", method, store, "--top", 3)
    assert said.exit_code == 0, said.output
    assert "A score is association" in said.stdout


def test_store_info_and_check(store):
    found = json.loads(run("store", "info", store, "--json").stdout)
    assert found["prompts"] == 8
    assert found["labels"] == ["kind"]
    assert found["rows"] == open_store(store).manifest["rows"]
    assert "kind" in run("store", "info", store).stdout
    said = run("store", "check", store)
    assert said.exit_code == 0
    assert "all as captured" in said.stdout


def test_a_damaged_store_is_exit_code_1(prompts, tmp_path):
    assert run("capture", MODEL, prompts, "--store", tmp_path / "s").exit_code == 0
    file = next((tmp_path / "s" / "slots").glob("*.parquet"))
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    said = run("store", "check", tmp_path / "s")
    assert said.exit_code == 1
    assert file.name in said.stdout


def test_no_text_keeps_the_words_out(prompts, store, tmp_path):
    assert run("capture", MODEL, prompts, "--store", tmp_path / "s", "--no-text").exit_code == 0
    assert CANARY in open_store(store).prompts["text"].iloc[0]
    held = open_store(tmp_path / "s")
    assert held.prompts["text"].isna().all()
    for file in (tmp_path / "s").rglob("*"):
        assert file.is_dir() or CANARY.encode() not in file.read_bytes(), file


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["inspect", "tiny/nosuch"], "There is no tiny model 'nosuch'"),
        (["inspect", "nosuchfolder/nosuchmodel"], "could not be loaded"),
        (["steer", MODEL, "--prompt", "x", "--off", "L0E99"], "layer 0 of tiny/olmoe has experts 0-15"),
        (["steer", MODEL, "--prompt", "x", "--off", "L7E0"], "has layers 0-2"),
        (["steer", MODEL, "--prompt", "x", "--off", "seven"], "names no expert"),
        (["steer", MODEL, "--prompt", "x", "--scale", "L0E1"], "needs one number"),
        (["steer", MODEL, "--prompt", "x", "--scale", "L0E1=big"], "is no number"),
        (["steer", MODEL, "--prompt", "x", "--off", "L0E0-14"], "selects 3 of 16 experts"),
        (["steer", MODEL, "--prompt", "x", "--force", "L0E0-3"], "force"),
        (["steer", MODEL, "--prompt", "x", "--off", "L0E0", "--force", "L0E0"], "contradict"),
        (["steer", MODEL, "--prompt", "x"], "No edit was named"),
        (["steer", MODEL, "--prompt", " ", "--off", "L0E0"], "The prompt is empty"),
        (["steer", MODEL, "--prompt", "x" * 600, "--off", "L0E0"], "takes 512"),
        (["steer", MODEL, "--prompt", "x", "--plan", "none.json"], "There is no plan file 'none.json'"),
        (["steer", MODEL, "--prompt", "x", "--off", "L0E0", "--dtype", "float7"], "no torch dtype"),
        (["compare", MODEL, "nosuch.jsonl", "--off", "L0E0"], "nosuch.jsonl"),
        (["compare", MODEL, "refusal", "--off", "L0E0", "--metric", "beauty"], "There is no metric 'beauty'"),
        (["compare", MODEL, "refusal", "--off", "L0E0", "--split", "nowhere"], "split"),
        (["capture", MODEL, "refusal", "--store", "s", "--keep", "norms,rubbish"], "rubbish"),
        (["capture", MODEL, "refusal", "--store", "s", "--layers", "x"], "names no layers"),
        (["capture", MODEL, "refusal", "--store", "s", "--layers", "0-9", "--keep", "logits"], "has layers 0-2"),
        (["rank", "magic", "STORE"], "There is no method 'magic'"),
        (["rank", "ftri", "nosuchstore"], "nosuchstore"),
        (["rank", "ftri", "STORE", "--target", "nothing"], "nothing"),
        (["rank", "ftri", "STORE", "--target", "kind=cat", "--set", "tokenz=all"], "did you mean 'tokens'"),
        (["rank", "ftri", "STORE", "--target", "kind=cat", "--set", "tokens"], "sets nothing"),
        (["rank", "contrast", "STORE"], "contrast needs a target; give --target VALUE"),
        (["rank", "usage", "STORE", "--scores", "scores.txt"], "should end in"),
        (["rank", "usage", "STORE", "--edit", "scale", "--out", "p.json"], "--edit scale"),
        (["store", "info", "nosuchstore"], "nosuchstore"),
        (["app", "--store", "nosuchstore"], "nosuchstore"),
    ],
)
def test_bad_input_is_one_sentence(words, said, store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert said in sentence(run(*(str(store) if word == "STORE" else word for word in words)))
    assert not list(tmp_path.iterdir()), "nothing may be left half done"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no prompts"),
        ('{"prompt": "a"}\n{"prompt": "b"', "ine 2"),
        ('{"prompt": "a"}\n{"prompt": ""}', "ine 2"),
        ('{"promt": "a"}', "did you mean 'prompt'"),
    ],
)
def test_broken_prompt_files_name_the_line(text, said, tmp_path):
    (tmp_path / "p.jsonl").write_text(text, encoding="utf-8")
    message = sentence(run("capture", MODEL, tmp_path / "p.jsonl", "--store", tmp_path / "s"))
    assert said in message
    assert not (tmp_path / "s").exists()


def test_a_dense_model_is_refused(tmp_path):
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "vocab_size": 384,
    }
    LlamaForCausalLM(LlamaConfig(**sizes)).save_pretrained(tmp_path)
    load(MODEL).tokenizer.save_pretrained(tmp_path)
    assert "llama" in sentence(run("inspect", tmp_path)).lower()


def test_the_store_and_the_plan_of_another_model_are_refused(prompts, store, tmp_path):
    Plan.off("L0E1").for_model(load(MODEL).anatomy).to_json(tmp_path / "p.json")
    message = sentence(run("steer", "tiny/mixtral", "--prompt", "x", "--plan", tmp_path / "p.json"))
    assert "another model" in message
    words = ["compare", "tiny/mixtral", prompts, "--off", "L0E1", "--metric", "length", "--store", store, "--tokens", 2]
    assert "another model" in sentence(run(*words))


def test_a_half_written_store_says_how_to_go_on(prompts, tmp_path):
    assert run("capture", MODEL, prompts, "--store", tmp_path / "s").exit_code == 0
    (tmp_path / "s" / "manifest.json").unlink()
    assert "half written" in sentence(run("store", "info", tmp_path / "s"))


def test_a_place_that_cannot_be_written_is_one_sentence(prompts, store, tmp_path):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    assert "file" in sentence(run("capture", MODEL, prompts, "--store", tmp_path / "file" / "s"))
    assert "nowhere" in sentence(run("rank", "usage", store, "--scores", tmp_path / "nowhere" / "s.csv"))
    assert "file" in sentence(run("demo", "--out", tmp_path / "file"))


def test_ctrl_c_ends_without_a_traceback(monkeypatch):
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("workbench_app.cli.models.open_model", stop)
    said = run("inspect", MODEL)
    assert said.exit_code == 130
    assert not said.stderr.strip()  # the word is said by `__main__`: test_interrupt.py


def test_text_of_a_model_is_never_markup_and_never_moves_the_cursor(capsys, monkeypatch):
    console.cache_clear()
    terminal.print_pair(("base", "[bold]a[/bold] :smile: \x1b[31mred"), ("steered", "[link=x]b"))
    console.cache_clear()
    shown = capsys.readouterr().out
    assert "[bold]a[/bold] :smile:" in shown
    assert "[link=x]b" in shown
    assert "\x1b[31m" not in shown
    assert "\u241b[31mred" in shown


def test_torch_threads_are_left_alone():
    before = torch.get_num_threads()
    run("steer", MODEL, "--prompt", "hello", "--tokens", 1, "--off", "L0E0")
    assert torch.get_num_threads() == before


def test_the_page_is_served_without_streamlits_own_offers(monkeypatch, tmp_path):
    started: list[list[str]] = []
    monkeypatch.setattr(cli_demo, "serve", lambda command: started.append(command) or 0)
    monkeypatch.chdir(tmp_path)
    result = run("app", "--host", "0.0.0.0", "--port", 9123)
    assert result.exit_code == 0, result.output
    assert "--logger.hideWelcomeMessage=true" in started[0], "else its offer to install skills lies over the page"
    assert "0.0.0.0, port 9123" in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")
def test_ending_the_command_ends_the_server(tmp_path):
    child = "import time; print('up', flush=True); time.sleep(60); print('still here', flush=True)"
    parent = f"import sys; from workbench_app.cli.demo import serve; serve([sys.executable, '-c', {child!r}])"
    process = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "up\n"
    process.terminate()
    assert process.communicate(timeout=20)[0] == "", "the pipe closes only when the server has ended too"
