"""Pretraining at a size of seconds: files, batches, schedule, and that the seed decides every byte."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from repository import ROOT
from sftlens import files
from sftlens.config.stages.model import Geometry, PretrainingSettings
from sftlens.errors import DataError, TrainingError
from sftlens.inference import prompts
from sftlens.models import checkpoints
from sftlens.synthetic import pretraining

GEOMETRY = Geometry(layers=1, hidden_size=16, intermediate_size=24, heads=2, kv_heads=2, vocab_size=300, tied=False)
SETTINGS = PretrainingSettings(batch_tokens=64, learning_rate=1e-2, max_positions=64)
TEXTS = [f"{name} was born in {city}{end}" for name in ("Ada Loren", "Ben Oslo", "Cy Vale")
         for city in ("Torburg", "Kestaton") for end in ("", " ")] * 20  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "corpus.txt"
    path.write_text("".join(f"{text}\n" for text in TEXTS), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def trained(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    out = tmp_path_factory.mktemp("model") / "checkpoint"
    return out, pretraining.pretrain(corpus, GEOMETRY, SETTINGS, out)


def test_the_loss_falls_and_the_report_counts(trained: tuple[Path, dict[str, float]]) -> None:
    _, report = trained
    assert report["loss_last"] < report["loss_first"]
    assert report["documents"] == len(TEXTS)
    assert report["steps"] >= report["tokens"] / SETTINGS.batch_tokens


def test_the_folder_is_an_ordinary_checkpoint(trained: tuple[Path, dict[str, float]]) -> None:
    folder, _ = trained
    checkpoints.check_geometry(folder, GEOMETRY.model_dump(), "tiny")
    model = checkpoints.load_model(folder)
    assert model.dtype == torch.float32
    assert all(path.stat().st_mode & 0o777 == 0o644 for path in folder.iterdir())


def test_the_tokenizer_adds_bos_but_not_eos(trained: tuple[Path, dict[str, float]]) -> None:
    tokenizer = checkpoints.load_tokenizer(trained[0])
    ids = tokenizer("Ada Loren")["input_ids"]
    assert ids[0] == tokenizer.bos_token_id == 1 and tokenizer.eos_token_id == 2 not in ids
    assert tokenizer.pad_token_id == 0
    inside = tokenizer("was Ada Loren", add_special_tokens=False)["input_ids"]
    assert inside[-len(ids) + 1 :] == ids[1:]
    assert tokenizer.decode(ids, skip_special_tokens=True).strip() == "Ada Loren"


def test_the_tokenizer_fits_the_fine_tuning_prompt(trained: tuple[Path, dict[str, float]]) -> None:
    tokenizer = checkpoints.load_tokenizer(trained[0])
    sample = prompts.encode_samples(tokenizer, ["Where was Ada Loren born?"], ["Torburg"], 256)[0]
    answer = [token for token in sample.labels if token != prompts.MASKED]
    assert tokenizer.decode(answer) == " Torburg </s>"


def test_the_seed_decides_every_byte(corpus: Path, trained: tuple[Path, dict[str, float]], tmp_path: Path) -> None:
    again = pretraining.pretrain(corpus, GEOMETRY, SETTINGS, tmp_path / "again")
    assert again == trained[1]
    assert files.tree_sha256(tmp_path / "again") == files.tree_sha256(trained[0])
    other = SETTINGS.model_copy(update={"seed": 1})
    pretraining.pretrain(corpus, GEOMETRY, other, tmp_path / "other")
    assert files.tree_sha256(tmp_path / "other") != files.tree_sha256(trained[0])


def test_two_processes_train_what_one_does(
    corpus: Path, trained: tuple[Path, dict[str, float]], tmp_path: Path
) -> None:
    settings = SETTINGS.model_copy(update={"processes": 2})
    with pytest.raises(TrainingError, match=r"processes is 2, but 1 of them run; start sftlens base"):
        pretraining.pretrain(corpus, GEOMETRY, settings, tmp_path / "alone")
    options = ["--corpus", str(corpus), "--geometry", GEOMETRY.model_dump_json(), "--out", str(tmp_path)]
    command = [sys.executable, "scripts/base.py", "--source", "pretrain", *options]
    subprocess.run([*command, "--pretraining", settings.model_dump_json()], cwd=ROOT, check=True)
    report = files.read_json(tmp_path / "base.json")["report"]
    assert report == pytest.approx(trained[1], rel=1e-3)
    assert checkpoints.load_model(tmp_path / "checkpoint").num_parameters() > 0


def test_pretraining_leaves_torch_as_it_was(corpus: Path, tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    pretraining.pretrain(corpus, GEOMETRY, SETTINGS, tmp_path / "m")
    assert torch.equal(torch.rand(3), expected)


def test_batches_hold_each_document_once_an_epoch_without_padding() -> None:
    documents = [[1, *[10 + i] * length, 2] for length in (3, 5, 9) for i in range(11)]
    settings = PretrainingSettings(batch_tokens=24, epochs=2)
    batches = list(pretraining.make_batches(documents, settings))
    assert all(batch.numel() <= 24 for batch in batches)
    rows = [row for batch in batches for row in batch.tolist()]
    assert sorted(rows) == sorted(documents * 2)
    half = len(batches) // 2
    assert rows[: len(documents)] != documents
    assert any(not torch.equal(a, b) for a, b in zip(batches[:half], batches[half:], strict=True))


def test_a_document_longer_than_a_batch_is_a_batch() -> None:
    [batch] = pretraining.make_batches([[1] * 40], PretrainingSettings(batch_tokens=24))
    assert batch.shape == (1, 40)


def test_the_loss_is_that_of_transformers() -> None:
    model = pretraining.make_model(GEOMETRY, SETTINGS)
    batch = torch.arange(3, 27).reshape(2, 12)
    expected = model(input_ids=batch, labels=batch).loss.item()
    assert pretraining.train(model, [batch], SETTINGS) == [pytest.approx(expected, abs=1e-6)]


def test_learning_rate_warms_up_and_ends_at_a_twentieth() -> None:
    settings = PretrainingSettings(learning_rate=1.0, batch_tokens=512)
    rates = [pretraining.learning_rate(step, 1000, 512, settings) for step in range(1000)]
    assert rates[0] == pytest.approx(1 / 30) and max(rates) == rates[30] == pytest.approx(1.0)
    assert rates[29:] == sorted(rates[29:], reverse=True)
    assert rates[-1] == pytest.approx(0.05, abs=1e-4)
    assert pretraining.learning_rate(30, 1000, 128, settings) == pytest.approx(0.5)
    assert pretraining.learning_rate(30, 1000, 600, settings) == pytest.approx(1.0)


def test_a_diverging_run_is_refused_and_nothing_written(corpus: Path, tmp_path: Path) -> None:
    wild = SETTINGS.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(TrainingError, match=r"lower pretraining\.learning_rate"):
        pretraining.pretrain(corpus, GEOMETRY, wild, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_bad_input_is_refused(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        pretraining.pretrain(tmp_path / "none.txt", GEOMETRY, SETTINGS, tmp_path / "model")
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(DataError, match="empty"):
        pretraining.pretrain(tmp_path / "empty.txt", GEOMETRY, SETTINGS, tmp_path / "model")
    small = GEOMETRY.model_copy(update={"vocab_size": 100})
    with pytest.raises(TrainingError, match=r"geometry\.vocab_size"):
        pretraining.pretrain(corpus, small, SETTINGS, tmp_path / "model")
    (tmp_path / "long.txt").write_text("x y " * 100 + "\n")
    with pytest.raises(TrainingError, match="max_positions"):
        pretraining.pretrain(tmp_path / "long.txt", GEOMETRY, SETTINGS, tmp_path / "model")
