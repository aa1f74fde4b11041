"""What is given as the place of a result is never an input, and no folder of somebody's is deleted for it."""

import shutil
from argparse import Namespace
from pathlib import Path

import pytest

from probe_tables import facts_table
from script_calls import ok, refused
from sftlens.commands import written
from sftlens.errors import ConfigError
from sftlens.files import tree_sha256, write_parquet
from tiny import tiny_model


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    tiny_model(tmp_path / "model")
    facts = facts_table().assign(bucket="D4", mastery=1.0, hits=4, trials=4)
    write_parquet(tmp_path / "facts.parquet", facts)
    known = facts[facts["split"] != "testood"][["relation", "subject", "object", "question", "split"]]
    known.to_csv(tmp_path / "facts.csv", index=False)
    shutil.copyfile(Path(__file__).parents[2] / "config" / "relations.yaml", tmp_path / "templates.yaml")
    (tmp_path / "recipes.yaml").write_text("recipes: {D4: {parts: {all: {buckets: [D4]}}}}\n")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    return tmp_path


EVALUATE = ("evaluate.py", "--model", "model", "--facts", "facts.parquet", "--max-new-tokens", "2")
MASTERY = ("mastery.py", "--model", "model", "--facts", "facts.parquet", "--templates", "templates.yaml")
TRAINING_SET = ("training_set.py", "--mastery", "facts.parquet", "--train-set", "D4", "--model-name", "tiny")
FINETUNE = ("finetune.py", "--model", "model", "--train", "facts.parquet")
FACTS = ("facts.py", "--table", "facts.csv")


@pytest.mark.parametrize(
    ("program", "out"),
    [
        (EVALUATE, "model"),  # whose content would be another
        (MASTERY, "model"),
        (MASTERY, "model/mastery.parquet"),
        (MASTERY, "facts.parquet"),
        (MASTERY, "link/mastery.parquet"),
        (TRAINING_SET, "facts.parquet"),
        ((*TRAINING_SET, "--recipe", "recipes.yaml"), "recipes.yaml"),
        (FACTS, "facts.csv"),
        (FACTS, "mine"),
        (FINETUNE, "model"),
        (FINETUNE, "."),
        (("base.py", "--source", "path", "--path", "model"), "model"),
        (("compare_changes.py", "model", "model"), "model/cosines.csv"),
        (("changes.py", "model", "model"), "model"),
        # No input, but a folder that is somebody's.
        (MASTERY, "mine"),
        (TRAINING_SET, "mine"),
        (FINETUNE, "mine"),
        (("compare_changes.py", "model", "model"), "mine"),
    ],
)
def test_neither_an_input_nor_a_folder_of_others_is_written_over(
    inputs: Path, monkeypatch: pytest.MonkeyPatch, program: tuple[str, ...], out: str
) -> None:
    monkeypatch.chdir(inputs)
    (inputs / "link").symlink_to("model")
    before = tree_sha256(inputs)
    message = refused(*program, "--out", out)
    assert out in message and ("input" in message or "folder" in message), message
    assert tree_sha256(inputs) == before


def test_two_results_are_not_written_to_one_place(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(inputs)
    assert "two results" in refused("compare.py", "facts.csv", "facts.parquet", "--json", "both", "--csv", "./both")
    assert not (inputs / "both").exists()


def test_an_earlier_result_is_replaced(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(inputs)
    for _ in range(2):
        ok(*EVALUATE, "--out", "model/answers")  # below a model, beside none of its files
        ok(*TRAINING_SET, "--out", "order.parquet")
        ok("finetune.py", "--model", "model", "--train", "order.parquet", "--zero-stage", "0", "--dtype", "float32",
           "--scale", "1", "--out", "tuned")  # fmt: skip
    assert (inputs / "tuned/model.safetensors").is_file() and (inputs / "mine/thesis.txt").is_file()


def test_a_repair_may_be_written_again_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/README.md").write_text("made by a repair")
    with pytest.raises(ConfigError, match="holds files that were not made here"):
        written.check(Namespace(), {"model": tmp_path / "model"})
    (tmp_path / "report.json").write_text('{"stage": "repair"}')
    written.check(Namespace(), {"model": tmp_path / "model"})
