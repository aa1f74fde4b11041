"""The command line: choices and defaults are listed, near misses are named, and the syntax that is shown works."""

import json
import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest

from script_calls import ok, process, refused
from sftlens import cli
from sftlens.commands import options
from sftlens.config.repair import RepairSettings
from sftlens.config.stages.training import FinetuneSettings
from sftlens.errors import ConfigError
from tiny import tiny_model


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a base and a fine-tuned model."""
    folder = tmp_path_factory.mktemp("models")
    tiny_model(folder / "base")
    tiny_model(folder / "ft", seed=1)
    return folder


def repair_settings(*words: str) -> RepairSettings:
    args = options.parser(None, RepairSettings, without={"ratios", "criteria"}).parse_args(list(words))
    return options.settings(args, RepairSettings)


def test_help_lists_choices_and_defaults_and_keeps_what_the_workflow_gives_apart(tmp_path: Path) -> None:
    text = process("finetune.py", "--help", cwd=tmp_path).stdout
    assert "--dtype {bfloat16,float32}" in text and "(default: bfloat16)" in text
    assert text.splitlines()[0] == "usage: finetune.py --model MODEL --train TRAIN --out OUT"
    internal = text.split("for the workflow:")[1]
    assert "--state" in internal and "--nodes" in internal and "--learning-rate" not in internal
    assert "KEY=VALUE" in process("repair.py", "--help", cwd=tmp_path).stdout


def test_settings_within_an_option_are_pairs_or_json() -> None:
    wanted = {"prompts": 2, "shots": 3}
    for words in (["prompts=2", "shots=3"], [json.dumps(wanted)]):
        assert repair_settings("--few-shot", *words).few_shot.model_dump(include={"prompts", "shots"}) == wanted
    for words, message in (
        (["promts=2"], "option --few-shot: there is no key 'promts'; did you mean 'prompts'?"),
        (['{"promts": 2}'], "option --few-shot: there is no key 'promts'; did you mean 'prompts'?"),
        (["prompts=none"], "option --few-shot: key 'prompts': "),
        (["prompts"], "option --few-shot: 'prompts' has no value; write key=value"),
        (["{prompts: 2}"], "option --few-shot: not valid JSON"),
    ):
        with pytest.raises(ConfigError) as refusal:
            repair_settings("--few-shot", *words)
        assert str(refusal.value).startswith(message)


def test_a_sample_of_the_questions_is_given_as_it_is_shown(tmp_path: Path) -> None:
    ok("world.py", "--templates", "config/relations.yaml", "--train", 12, "--out", tmp_path / "world")
    few = ["--world", tmp_path / "world", "--sample", "train=3", "test=2"]
    ok("facts.py", *few, "--out", tmp_path / "facts.parquet")
    counts = pd.read_parquet(tmp_path / "facts.parquet").groupby("split")["relation"].value_counts()
    assert set(counts["train"]) == {3} and set(counts["test"]) == {2}


def test_an_unknown_option_names_the_nearest(models: Path) -> None:
    given = ["--model", models / "base", "--train", "t.csv", "--out", "out"]
    assert "there is no option --learn-rate; did you mean --learning-rate?" in refused(
        "finetune.py", *given, "--learn-rate", "1e-4"
    )
    assert "argument --dtype: invalid choice: 'fp16'" in refused("finetune.py", *given, "--dtype", "fp16")
    assert "required: --train" in refused("finetune.py", *given[:2], "--out", "out")
    assert "'more' is one too many" in refused("evaluate.py", "more", "--model", "m", "--facts", "f", "--out", "out")


def test_names_of_other_libraries_and_underscores_are_understood() -> None:
    args = options.parser(None, FinetuneSettings).parse_args(["--lr", "2e-5", "--num_train_epochs=3"])
    found = options.settings(args, FinetuneSettings)
    assert (found.learning_rate, found.epochs) == (2e-5, 3)
    made = {flag for group in cli.PROGRAMS.values() for flag in group}
    assert not made & set(options.ALIASES)  # no name means two things


def test_a_path_begins_with_a_tilde(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert repair_settings("--state=~/kept").tolerance == 0.05
    parser = options.parser(None)
    parser.add_argument("--model", type=options.Model)
    monkeypatch.setattr(sys, "argv", ["program", "--state=~/kept", "--model=~/m"])
    parsed = parser.parse_args()
    assert (parsed.state, parsed.model) == (tmp_path / "kept", tmp_path / "m")
    # The processes that a program starts are given the folder that was found, so that they fetch nothing.
    assert sys.argv[2] == f"--model={tmp_path}/m"


def test_the_base_itself_is_no_fine_tuned_model(models: Path, tmp_path: Path) -> None:
    shutil.copytree(models / "base", tmp_path / "copy")
    facts = tmp_path / "facts.csv"
    facts.write_text("question,answer\n" + "".join(f"q{i},a{i}\n" for i in range(80)))
    for script, *words in (
        ["changes.py"],
        ["restore.py", "--ratio", "5"],
        ["repair.py", "--facts", facts],
    ):
        for other, message in ((models / "base", "is the base model itself"), (tmp_path / "copy", "holds the same as")):
            out = tmp_path / "out"
            assert message in refused(script, models / "base", other, *words, "--out", out), script
            assert not out.exists() or not list(out.iterdir())


def test_a_ratio_below_one_is_said_to_be_a_percentage(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ok("restore.py", models / "base", models / "ft", "--ratio", "0.2", "--out", tmp_path / "out")
    said = capsys.readouterr().err
    assert "0.2 restores 0.2 % of the parameters; for that share of all write 20" in said
    assert f"restore: wrote {tmp_path / 'out'}: " in said and " parameters restored" in said


def test_every_program_says_what_it_wrote(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pair = (models / "base", models / "ft")
    ok("changes.py", *pair, "--out", tmp_path / "changes")
    ok("compare_changes.py", *pair, "--out", tmp_path / "compared.csv")
    ok("delta.py", "pack", *pair, "--out", tmp_path / "delta")
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith(f"changes: wrote {tmp_path}/changes/summary.json, tensors.parquet, histogram.parquet: ")
    assert "the first 20 % of the parameters hold " in said[0]
    assert said[1] == f"compare-changes: wrote {tmp_path}/compared.csv"
    assert said[2].startswith(f"delta: wrote {tmp_path}/delta: ") and said[2].endswith(" MB")
