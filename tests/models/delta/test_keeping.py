"""`keep`: however a fine-tuned model is kept, everything that is measured of it is the same."""

import shutil
from pathlib import Path

import pytest

from probe_tables import SENTENCES, facts_table
from script_calls import ok, process
from sftlens.files import read_json, sha256, write_json, write_parquet, write_text
from sftlens.models.delta.reader import open_tensors
from sftlens.models.identity import describe, identity
from tiny import tiny_model


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a base model and its pointer, facts, and a model fine-tuned twice: kept as `whole` (its finished
    work in `state`) and as `delta`."""
    folder = tmp_path_factory.mktemp("study")
    tiny_model(folder / "base", std=0.1)
    write_json(folder / "base.json", {"path": "base", "files": describe(folder / "base")})
    hits = [[4, 0, 0][: len(SENTENCES[relation])] for relation in facts_table()["relation"]]
    facts = facts_table().assign(bucket="D4", template_hits=hits)
    write_parquet(folder / "facts.parquet", facts)
    write_parquet(folder / "train.parquet", facts[facts["split"] == "train"])
    lines = [f"{relation}: {{templates: {sentences}}}" for relation, sentences in SENTENCES.items()]
    write_text(folder / "templates.yaml", "\n".join(lines))
    for name, options in (("whole", ["--state", folder / "state"]), ("delta", ["--keep", "deltas"])):
        done = process("finetune.py", *training(folder), *options, "--out", folder / name, cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder


def training(study: Path) -> list[object]:
    return ["--model", study / "base.json", "--train", study / "train.parquet", "--learning-rate", "1e-2"]


def result(path: Path) -> object:
    """What a file of results says, without the circumstances of the run."""
    return sha256(path) if path.suffix != ".json" else {k: v for k, v in read_json(path).items() if k != "run"}


def results(folder: Path) -> dict[str, object]:
    return {path.name: result(path) for path in folder.rglob("*") if path.is_file()}


def test_a_model_kept_as_a_delta_is_the_same_model(study: Path) -> None:
    assert not list((study / "delta").glob("*.safetensors"))
    assert read_json(study / "delta" / "delta.json")["base"]["path"] == "../base.json"
    whole, delta = open_tensors(study / "whole"), open_tensors(study / "delta")
    assert whole.names == delta.names and all(whole.get(n).equal(delta.get(n)) for n in whole.names)
    assert identity(study / "whole") == identity(study / "delta")
    assert result(study / "whole.json") == result(study / "delta.json")


@pytest.mark.parametrize("stage", ["evaluate", "divergence", "changes", "restore", "save"])
def test_every_reader_finds_the_same(study: Path, stage: str, tmp_path: Path) -> None:
    facts, templates = ["--facts", study / "facts.parquet"], ["--templates", study / "templates.yaml"]
    pair = ["--base", study / "base.json", "--finetuned"]
    for name in ("whole", "delta"):
        command = {
            "evaluate": ["evaluate.py", *facts, "--max-new-tokens", 5, "--model", study / name],
            "divergence": ["divergence.py", *facts, *templates, *pair, study / name],
            "changes": ["changes.py", study / "base.json", study / name],
            "restore": ["restore.py", study / "base.json", study / name, "--ratio", 20, *facts],
            "save": ["restore.py", study / "base.json", study / name, "--ratio", 20],
        }[stage]
        ok(*command, "--out", tmp_path / name)
    assert results(tmp_path / "whole") == results(tmp_path / "delta")


def test_a_change_of_keep_trains_nothing_anew(study: Path, tmp_path: Path) -> None:
    shutil.copytree(study / "state", tmp_path / "state")
    given = [*training(study), "--state", tmp_path / "state", "--out", tmp_path / "a" / "model"]
    ok("finetune.py", *given, "--keep", "deltas")
    assert not list(tmp_path.rglob("*.safetensors")), "the space is free again"
    assert identity(tmp_path / "a" / "model") == identity(study / "whole")
    # The finished work is published at another place, from where the base lies elsewhere.
    ok("finetune.py", *given[:-1], tmp_path / "b", "--keep", "deltas")
    assert open_tensors(tmp_path / "b").names == open_tensors(study / "whole").names
    ok("finetune.py", *given, "--keep", "checkpoints")
    assert results(tmp_path / "a" / "model") == results(study / "whole")
    assert len(list((tmp_path / "state").iterdir())) == 1
    ok("finetune.py", *given, "--keep", "none")
    assert sha256(tmp_path / "a" / "model.json") == sha256(study / "whole.json"), "with the time that it took"
    assert not list((tmp_path / "state").iterdir()), "a later call trains again"
