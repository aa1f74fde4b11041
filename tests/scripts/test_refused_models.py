"""What the scripts that measure a model refuse, in one line and with nothing left behind: models, tables, options."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from safetensors.torch import load_file, save_file

from model_inputs import divergence_options, mastery_options
from script_calls import ok, process, refused
from sftlens.files import write_parquet
from tiny import tiny_tokenizer


def test_damaged_weights_end_in_one_line(inputs: Path, tmp_path: Path) -> None:
    shutil.copytree(inputs / "base", tmp_path / "bad")
    tensors = load_file(tmp_path / "bad" / "model.safetensors")
    del tensors["model.norm.weight"]
    save_file(tensors, tmp_path / "bad" / "model.safetensors", {"format": "pt"})
    given = ["--model", "bad", "--facts", inputs / "facts.parquet", "--out", "out"]
    done = process("evaluate.py", *given, cwd=tmp_path)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("error: bad: tensor 'model.norm.weight' is in none") and done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def poisoned(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.1.mlp.up_proj.weight"][3, 3] = float("nan")
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def truncated(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:9000])


def without_bos(folder: Path) -> None:
    tiny_tokenizer(bos=False).save_pretrained(folder)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (poisoned, "'model.layers.1.mlp.up_proj.weight' holds NaN or Inf"),
        (truncated, "model.safetensors: not a readable safetensors file"),
        (without_bos, "no BOS token; set `bos: none`"),
        (lambda folder: (folder / "config.json").unlink(), "config.json is missing"),
    ],
)
def test_a_bad_model_leaves_nothing_behind(
    inputs: Path, tmp_path: Path, damage: Callable[[Path], None], words: str
) -> None:
    shutil.copytree(inputs / "base", tmp_path / "bad")
    damage(tmp_path / "bad")
    given = ["--model", tmp_path / "bad", *mastery_options(inputs)[2:]]
    assert words in refused("mastery.py", *given, "--out", tmp_path / "out" / "m.parquet")
    assert words in refused("evaluate.py", *given[:4], "--out", tmp_path / "out")
    options = divergence_options(inputs)
    options[1] = options[3] = tmp_path / "bad"
    assert words in refused("divergence.py", *options, "--out", tmp_path / "out")
    assert list((tmp_path / "out").rglob("*")) == []


def test_a_model_without_bos_runs_when_told_to(inputs: Path, tmp_path: Path) -> None:
    shutil.copytree(inputs / "base", tmp_path / "model")
    without_bos(tmp_path / "model")
    given = ["--model", tmp_path / "model", "--facts", inputs / "mastery.parquet", "--bos", "none"]
    ok("evaluate.py", *given, "--out", tmp_path / "out")
    assert (tmp_path / "out" / "answers.parquet").is_file()


def test_bad_tables_templates_and_options_leave_nothing_behind(inputs: Path, tmp_path: Path) -> None:
    bad, out = tmp_path / "in", tmp_path / "out"
    bad.mkdir()
    facts = pd.read_parquet(inputs / "facts.parquet")
    write_parquet(bad / "columns.parquet", facts.drop(columns="subject"))
    write_parquet(bad / "relation.parquet", facts.assign(relation="P36"))
    write_parquet(bad / "aliases.parquet", facts.assign(aliases=True))
    write_parquet(bad / "train.parquet", facts[facts["split"] == "train"])
    (bad / "cut.parquet").write_bytes((inputs / "facts.parquet").read_bytes()[:500])
    (bad / "open.yaml").write_text("P17: {templates: [no place for it]}\n")

    def mastery(*options: object) -> str:
        return refused("mastery.py", *mastery_options(inputs), *options, "--out", out / "m.parquet")

    def evaluate(facts: Path, *options: object) -> str:
        return refused("evaluate.py", "--model", inputs / "ft", "--facts", facts, *options, "--out", out)

    assert "columns.parquet: column 'subject' is missing" in mastery("--facts", bad / "columns.parquet")
    assert "cut.parquet: not a readable Parquet file" in mastery("--facts", bad / "cut.parquet")
    assert "none.parquet: no such file" in mastery("--facts", bad / "none.parquet")
    assert "templates.yaml: no templates for relation P36" in mastery("--facts", bad / "relation.parquet")
    assert "an answer that is no text (True)" in mastery("--facts", bad / "aliases.parquet")
    assert "write {subject} exactly once" in mastery("--templates", bad / "open.yaml")
    assert "option --temperature" in mastery("--temperature", "0")
    assert "option --samples" in mastery("--samples", "none")
    assert "context of 256" in mastery("--max-new-tokens", "300")
    assert "in/model: no such model folder" in mastery("--model", bad / "model")
    assert "no fact is of split test" in evaluate(bad / "train.parquet")
    assert "scale 'many'" in evaluate(inputs / "facts.parquet", "--train", inputs / "train.parquet", "--scale", "many")
    assert "column 'question' is missing" in evaluate(
        inputs / "facts.parquet", "--train", write_questionless(bad / "q.parquet", facts)
    )
    message = refused("divergence.py", *divergence_options(inputs), "--templates", bad / "open.yaml", "--out", out)
    assert "write {subject} exactly once" in message
    message = refused("divergence.py", *divergence_options(inputs), "--facts", inputs / "facts.parquet", "--out", out)
    assert "column 'bucket' is missing" in message
    assert list(out.rglob("*")) == []


def write_questionless(path: Path, facts: pd.DataFrame) -> Path:
    write_parquet(path, facts[facts["split"] == "train"].drop(columns="question"))
    return path
