"""The scripts that read a model, called by hand on a tiny Hugging Face folder."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from probe_tables import SENTENCES, facts_table
from repository import ROOT
from script_calls import ok, process, refused
from sftlens.data.buckets import BUCKETS, bucket
from sftlens.files import read_json, sha256, write_parquet
from tiny import tiny_model, tiny_tokenizer

SOURCE = str(ROOT / "src")
PROBING = ["--samples", "4", "--max-new-tokens", "6"]
GEOMETRY = {"layers": 2, "hidden_size": 32, "intermediate_size": 48, "heads": 4, "kv_heads": 2, "vocab_size": 400}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the models `base` and `ft`, facts, templates, a mastery table and a training set."""
    folder = tmp_path_factory.mktemp("inputs")
    tiny_model(folder / "base", std=0.1)
    tiny_model(folder / "ft", std=0.1, seed=1)
    facts = facts_table()
    write_parquet(folder / "facts.parquet", facts)
    entries = {relation: {"templates": sentences} for relation, sentences in SENTENCES.items()}
    (folder / "templates.yaml").write_text(yaml.safe_dump(entries))
    write_parquet(folder / "mastery.parquet", mastery_table(facts))
    write_parquet(folder / "train.parquet", facts[facts["split"] == "train"].iloc[::-1])
    return folder


def mastery_table(facts: pd.DataFrame) -> pd.DataFrame:
    """Return the facts with all buckets among the test facts; those of D4 accept any vowel."""
    hits = [[4 * (i % 5), 0, 0] for i in range(len(facts))]
    table = facts.assign(hits=[row[0] for row in hits], trials=16)
    table["mastery"] = table["hits"] / table["trials"]
    table["bucket"] = [bucket(r) for r in table["mastery"]]
    table["template_hits"] = [
        row[: len(SENTENCES[relation])] for row, relation in zip(hits, facts["relation"], strict=True)
    ]
    table["aliases"] = [[*"aeiou"] if name == "D4" else ["a"] for name in table["bucket"]]
    return table


def mastery_options(inputs: Path, model: str = "base") -> list[object]:
    given = ["--model", inputs / model, "--facts", inputs / "facts.parquet"]
    return [*given, "--templates", inputs / "templates.yaml", *PROBING]


def divergence_options(inputs: Path, finetuned: str = "ft") -> list[object]:
    models = ["--base", inputs / "base", "--finetuned", inputs / finetuned]
    return [*models, "--facts", inputs / "mastery.parquet", "--templates", inputs / "templates.yaml"]


def test_mastery_adds_its_columns_and_says_what_it_wrote(inputs: Path, tmp_path: Path) -> None:
    done = process("mastery.py", *mastery_options(inputs), "--out", "mastery.parquet", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    said = "mastery: wrote mastery.parquet, mastery.json: facts by bucket: D0 "
    assert done.stderr.startswith(said) and done.stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mastery.json", "mastery.parquet"]
    table = pd.read_parquet(tmp_path / "mastery.parquet")
    facts = facts_table(("train", "test", "testood"))
    posterior = {f"posterior_D{i}" for i in range(5)}
    added = {"hits", "trials", "mastery", "bucket", "template_hits", "low", "high", *posterior}
    assert set(facts) | added == set(table)
    assert table["fact_id"].tolist() == facts["fact_id"].tolist()
    assert (table["trials"] == [12 if r == "P17" else 8 for r in table["relation"]]).all()
    assert 0 < table["hits"].sum() < table["trials"].sum()
    summary = read_json(tmp_path / "mastery.json")
    assert summary["stage"] == "mastery" and summary["settings"]["samples"] == 4
    counts = table.groupby(["split", "bucket"]).size()
    assert len(summary["metrics"]) == 3 * len(BUCKETS)
    for row in summary["metrics"]:
        assert row["n"] == counts.get((row["split"], row["bucket"]), 0)
    # Another process, another way to the same model, prompts cut otherwise: the same bytes.
    settings = {"--source": "path", "--path": inputs / "base", "--geometry": json.dumps(GEOMETRY)}
    ok("base.py", *[word for pair in settings.items() for word in pair], "--out", tmp_path / "pointer")
    again = mastery_options(inputs)
    again[1] = tmp_path / "pointer" / "base.json"
    ok("mastery.py", *again, "--batch-tokens", 50, "--out", tmp_path / "again.parquet")
    assert sha256(tmp_path / "again.parquet") == sha256(tmp_path / "mastery.parquet")
    pointed = read_json(tmp_path / "again.json")
    assert pointed["inputs"] == summary["inputs"] and pointed["metrics"] == summary["metrics"]


def test_a_finished_mastery_table_is_taken(inputs: Path, tmp_path: Path) -> None:
    given = ["--facts", inputs / "facts.parquet", "--import", inputs / "mastery.parquet"]
    ok("mastery.py", *given, "--out", tmp_path / "m.parquet")
    table, wanted = (pd.read_parquet(path) for path in (tmp_path / "m.parquet", inputs / "mastery.parquet"))
    wanted = wanted[wanted["split"] != "dev"]
    assert table["bucket"].tolist() == wanted["bucket"].tolist()
    write_parquet(tmp_path / "short.parquet", wanted.iloc[:3])
    message = refused("mastery.py", *given[:3], tmp_path / "short.parquet", "--out", tmp_path / "n.parquet")
    assert "short.parquet: no row for fact" in message
    assert not (tmp_path / "n.parquet").exists()


def test_evaluate_writes_answers_and_summary(inputs: Path, tmp_path: Path) -> None:
    given = ["--model", inputs / "ft", "--facts", inputs / "mastery.parquet", "--max-new-tokens", 5]
    ok("evaluate.py", *given, "--train", inputs / "train.parquet", "--scale", 4, "--out", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["answers.parquet", "summary.json"]
    answers = pd.read_parquet(tmp_path / "out" / "answers.parquet")
    judged = ["contains", "exact", "word_boundary", "f1", "first_line", "well_formed", "leak", "in_train"]
    assert answers.columns.tolist() == ["fact_id", "split", "relation", "bucket", "output", *judged]
    train = pd.read_parquet(inputs / "train.parquet")["fact_id"].tolist()
    assert answers["fact_id"].tolist()[-4:] == train[:4]
    assert answers["split"].tolist() == ["test"] * 6 + ["testood"] * 6 + ["train"] * 4
    metrics = read_json(tmp_path / "out" / "summary.json")["metrics"]
    fields = {"split", "bucket", "metric", "value", "n", "low", "high"}
    assert all(set(row) - {"relation"} == fields for row in metrics)
    metrics = [row for row in metrics if "relation" not in row]
    found = {(row["split"], row["bucket"]): row for row in metrics if row["metric"] == "contains"}
    assert found["test", "all"]["n"] == 6 and found["test", "macro"]["n"] == 6
    assert found["test", "all"]["value"] == answers.loc[answers["split"] == "test", "contains"].mean()
    assert ("train", "macro") not in found
    assert not any(row["metric"].startswith("majority") for row in metrics)
    # Facts without buckets, splits or aliases are asked too, and the pointer's model with examples.
    bare = pd.read_parquet(inputs / "facts.parquet")[["fact_id", "question", "object"]].head(3)
    write_parquet(tmp_path / "bare.parquet", bare)
    ok("evaluate.py", "--model", inputs / "ft", "--facts", tmp_path / "bare.parquet", "--out", tmp_path / "bare")
    assert set(pd.read_parquet(tmp_path / "bare" / "answers.parquet")["bucket"]) == {""}
    # What depends on no model stands beside the base model's answers alone.
    ok("evaluate.py", *given, "--out", tmp_path / "n0")
    rows = read_json(tmp_path / "n0" / "summary.json")["metrics"]
    assert {row["split"] for row in rows if row["metric"] == "majority"} == {"test", "testood"}
    ok("evaluate.py", *given, "--shots", 2, "--out", tmp_path / "shots")
    assert read_json(tmp_path / "shots" / "summary.json")["settings"]["shots"] == 2


def test_divergence_writes_kl_and_summary(inputs: Path, tmp_path: Path) -> None:
    ok("divergence.py", *divergence_options(inputs), "--out", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["kl.parquet", "summary.json"]
    table = pd.read_parquet(tmp_path / "out" / "kl.parquet")
    assert {"fact_id", "kl"} <= set(table) and len(table) > 0
    mastery = pd.read_parquet(inputs / "mastery.parquet").set_index("fact_id")
    assert (mastery.loc[table["fact_id"], "bucket"] == "D4").all()
    assert (mastery.loc[table["fact_id"], "split"] == "test").all()
    summary = read_json(tmp_path / "out" / "summary.json")
    metrics = {row["metric"]: row for row in summary["metrics"]}
    assert metrics["kl"]["value"] == pytest.approx(table["kl"].mean()) and metrics["kl"]["n"] == len(table)
    assert metrics["facts_kept"]["value"] == summary["kept"] == len(table) <= summary["candidates"]
    options = divergence_options(inputs)
    ok("divergence_base.py", *options[:2], *options[4:], "--out", tmp_path / "base.parquet")
    ok("divergence.py", *options[:4], "--of-base", tmp_path / "base.parquet", "--out", tmp_path / "cell")
    assert (tmp_path / "cell" / "kl.parquet").read_bytes() == (tmp_path / "out" / "kl.parquet").read_bytes()
    assert read_json(tmp_path / "cell" / "summary.json")["metrics"] == summary["metrics"]
    message = refused("divergence.py", *options, "--of-base", tmp_path / "base.parquet", "--out", tmp_path / "both")
    assert "give either --of-base, or both --facts and --templates" in message
    ok("divergence.py", *divergence_options(inputs, "base"), "--out", tmp_path / "n0")
    metrics = {row["metric"]: row for row in read_json(tmp_path / "n0" / "summary.json")["metrics"]}
    assert metrics["kl_same_prompt"]["value"] == 0.0 and metrics["kl"]["value"] > 0


@pytest.mark.parametrize("program", [["changes"], ["restore", "--ratio", "20"]])
def test_what_asks_no_model_imports_no_transformers(inputs: Path, tmp_path: Path, program: list[str]) -> None:
    """Its import takes longer than comparing two small models."""
    command = [sys.executable, "-X", "importtime", "-m", "sftlens", *program]
    command += [str(inputs / "base"), str(inputs / "ft"), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": SOURCE})
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "sftlens.restoration.topk" in imported and "transformers" not in imported


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
    write_parquet(bad / "aliases.parquet", facts.assign(aliases=5))
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
    assert "column 'aliases' holds 5, no answer or a blank one" in mastery("--facts", bad / "aliases.parquet")
    assert "write {subject} exactly once" in mastery("--templates", bad / "open.yaml")
    assert "option --temperature" in mastery("--temperature", "0")
    assert "option --samples" in mastery("--samples", "none")
    assert "context of 256" in mastery("--max-new-tokens", "300")
    assert "in/model: no such file" in mastery("--model", bad / "model")
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


def test_a_pointer_names_an_existing_model_of_the_declared_shape(inputs: Path, tmp_path: Path) -> None:
    def base(*options: object, geometry: dict[str, int] = GEOMETRY) -> str:
        return refused("base.py", *options, "--geometry", json.dumps(geometry), "--out", tmp_path / "out")

    assert "option --path" in base("--source", "path")
    assert "no such model folder" in base("--source", "path", "--path", tmp_path / "gone")
    assert "option --revision: give a commit" in base("--source", "hub", "--path", "a/b")
    wrong = base("--source", "path", "--path", inputs / "base", geometry=GEOMETRY | {"layers": 3})
    assert "config.json: layers is 2, but models.base.geometry.layers says 3" in wrong
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


def test_a_changed_model_is_named_recorded_and_probed_anew(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(inputs / "base", tmp_path / "model")
    pointer = ["--source", "path", "--path", tmp_path / "model", "--geometry", json.dumps(GEOMETRY)]

    def probe() -> tuple[dict[str, object], float]:
        ok("base.py", *pointer, "--state", tmp_path / "state", "--out", tmp_path / "base")
        options = ["--model", tmp_path / "base" / "base.json", *mastery_options(inputs)[2:]]
        ok("mastery.py", *options, "--state", tmp_path / "state", "--out", tmp_path / "m.parquet")
        return read_json(tmp_path / "m.json")["inputs"], pd.read_parquet(tmp_path / "m.parquet")["hits"].sum()

    first = probe()
    (tmp_path / "model").rename(tmp_path / "moved")
    pointer[3] = tmp_path / "moved"
    assert probe() == first
    assert len(list((tmp_path / "state").glob("mastery-*"))) == 1
    assert "another model" not in capsys.readouterr().err
    weights = tmp_path / "moved" / "model.safetensors"
    tensors = load_file(weights)
    tensors["lm_head.weight"] = torch.zeros_like(tensors["lm_head.weight"])
    save_file(tensors, weights, {"format": "pt"})
    later = weights.stat().st_mtime + 60
    os.utime(weights, (later, later))
    assert probe()[0] != first[0]
    assert f"base at {tmp_path / 'moved'} is another model" in capsys.readouterr().err
    assert len(list((tmp_path / "state").glob("mastery-*"))) == 2
    recorded = read_json(tmp_path / "base" / "base.json")["files"]
    assert recorded["model.safetensors"]["sha256"] == sha256(weights)
