"""The scripts that measure a model, called by hand on a tiny Hugging Face folder: what they write."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from model_inputs import GEOMETRY, divergence_options, mastery_options
from probe_tables import SENTENCES, facts_table
from repository import ROOT
from script_calls import ok, process, refused
from sftlens.data.buckets import BUCKETS
from sftlens.files import read_json, sha256, write_parquet


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
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(ROOT / "src")}
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "sftlens.restoration.topk" in imported and "transformers" not in imported


@pytest.mark.parametrize("column", ["split", "relation", "subject", "bucket", "mastery"])
def test_probing_again_needs_a_mastery_table(inputs: Path, tmp_path: Path, column: str) -> None:
    write_parquet(tmp_path / "m.parquet", pd.read_parquet(inputs / "mastery.parquet").drop(columns=column))
    given = ["--facts", tmp_path / "m.parquet", "--templates", inputs / "templates.yaml", "--reprobe", 2]
    wanted = f"{tmp_path / 'm.parquet'}: column {column!r} is missing"
    assert wanted in refused("evaluate.py", "--model", inputs / "ft", *given, "--out", tmp_path / "out")
    models = (inputs / "base", inputs / "ft")
    assert wanted in refused("restore.py", *models, "--ratio", 5, *given, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_probing_again_needs_templates_of_every_relation(inputs: Path, tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(yaml.safe_dump({"P19": {"templates": SENTENCES["P19"]}}))
    given = ["--facts", inputs / "mastery.parquet", "--templates", tmp_path / "one.yaml", "--reprobe", 2]
    wanted = f"{tmp_path}/one.yaml: no templates for relation P17; add `P17: "
    assert wanted in refused("evaluate.py", "--model", inputs / "ft", *given, "--out", tmp_path / "out")
    models = (inputs / "base", inputs / "ft")
    assert wanted in refused("restore.py", *models, "--ratio", 5, *given, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()
