"""Which rows a strategy trains on, and what a strategy refuses: by hand and in a study."""

import json
import re

import pandas as pd
import pytest
import torch

from demo_study import DEMO, changed
from repository import ROOT
from script_calls import ok, refused
from sftlens import strategies
from sftlens.config import loading
from sftlens.errors import ConfigError, DataError, TrainingError
from sftlens.inference import prompts
from sftlens.strategies.replay import Replay, ReplayGenerated, ReplaySettings
from tiny import tiny_model, tiny_tokenizer


def facts(bucket: str, count: int, split: str = "train") -> pd.DataFrame:
    rows = [
        {"fact_id": f"{split}{bucket}{i}", "split": split, "relation": ("P17", "P19")[i % 2], "bucket": bucket,
         "question": f"Where is {split} {bucket} {i}?", "object": f"Place {i}"} for i in range(count)
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture
def known(tmp_path):
    pd.concat([facts("D4", 20), facts("D4", 9, "test"), facts("D0", 9)]).to_parquet(tmp_path / "mastery.parquet")
    return tmp_path / "mastery.parquet"


def replay(known, **own):
    return Replay(ReplaySettings(**own), {"known": known}, seed=1)


def test_replay_adds_known_train_facts_that_are_not_trained_on_anyway(known):
    table = pd.concat([facts("D2", 6), facts("D4", 2)], ignore_index=True).drop(columns=["split", "fact_id"])
    made = replay(known, share=1 / 3).rows(table)
    assert made.head(8).equals(table[made.columns]) and len(made) == 12
    added = made.tail(4)
    assert set(added["bucket"]) == {"D4"} and added["relation"].tolist() == ["P17", "P19"] * 2
    assert all(question.startswith("Where is train") for question in added["question"])
    assert made["question"].is_unique
    assert replay(known, share=0).rows(table) is table
    again = Replay(ReplaySettings(share=1 / 3), {"known": known}, seed=2).rows(table)
    assert set(again["question"]) != set(made["question"])
    with pytest.raises(
        TrainingError, match=r"mastery.parquet: .* needs 32 .* there are 18; lower strategies.replay.share"
    ):
        replay(known, share=0.8).rows(table)


def test_the_page_lists_every_strategy_with_its_settings():
    page = (ROOT / "docs/strategies.md").read_text(encoding="utf-8")
    table = page.partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `([\w-]+)` \| .* \| (.*) \| .* \|$", table, flags=re.MULTILINE))
    for strategy in strategies.STRATEGIES:
        missing = (
            set(strategy.settings_class.model_fields) - set(re.findall(r"`(\w+)`", rows[strategy.name])) - {"seed"}
        )
        assert not missing, strategy.name


def test_replay_by_hand(known, tmp_path):
    tiny_model(tmp_path / "base", dtype=torch.float32)
    tiny_tokenizer().save_pretrained(tmp_path / "base")
    facts("D2", 9).drop(columns="fact_id").to_csv(tmp_path / "train.csv", index=False)
    given = ["--model", tmp_path / "base", "--train", tmp_path / "train.csv", "--dtype", "float32", "--zero-stage", 0]
    ok("finetune.py", *given, "--out", tmp_path / "full")
    for share in (0, 0.5):
        own = ["--strategy", "replay", "--strategy-settings", f"share={share}", "--known", known]
        ok("finetune.py", *given, *own, "--out", tmp_path / str(share))
    weights = "model.safetensors"
    assert (tmp_path / "0" / weights).read_bytes() == (tmp_path / "full" / weights).read_bytes()
    summary = json.loads((tmp_path / "0.5.json").read_text())
    assert summary["examples"] == 18 and summary["settings"]["strategy_settings"] == {"share": 0.5, "bucket": "D4"}


def test_replay_of_what_the_model_said(known, tmp_path):
    table = pd.read_parquet(known)
    table = table.assign(subject=[f"S{i}" for i in range(len(table))])
    table.to_parquet(tmp_path / "known.parquet")
    sentences = {"P17": ["{subject} is in", "{subject} lies in"], "P19": ["{subject} is at"]}
    written = json.dumps({relation: {"templates": listed} for relation, listed in sentences.items()})
    (tmp_path / "templates.yaml").write_text(written)
    said = [("trainD40", 0, " a place", 9), ("trainD40", 1, " Place 0", 3), ("trainD40", 0, " Place 0", 3),
            ("trainD41", 0, " Place 1", 1), ("trainD42", 0, " nowhere", 5), ("testD43", 0, " Place 3", 5)]  # fmt: skip
    texts = pd.DataFrame(said, columns=["fact_id", "template", "text", "count"])
    texts.to_parquet(tmp_path / "texts.parquet")
    given = {"known": tmp_path / "known.parquet", "texts": tmp_path / "texts.parquet"}
    given["templates"] = tmp_path / "templates.yaml"
    strategy = ReplayGenerated(ReplaySettings(share=0.5), given)
    trained = facts("D2", 2).drop(columns=["split", "fact_id"])
    made = strategy.rows(trained)
    assert made["continued"].tolist() == [False, False, True, True]
    assert sorted(zip(made["question"], made["object"], strict=True))[:2] == [
        ("S0 is in", " Place 0"),
        ("S1 is at", " Place 1"),
    ]
    with pytest.raises(TrainingError, match=r"needs 3 train facts of bucket D4 .* there are 2"):
        strategy.rows(facts("D2", 3))
    tiny_model(tmp_path / "base", dtype=torch.float32)
    trained.to_csv(tmp_path / "train.csv", index=False)
    own = [
        "--strategy",
        "replay-generated",
        "--strategy-settings",
        "share=0.5",
        "--dtype",
        "float32",
        "--zero-stage",
        0,
    ]
    own += [word for name, path in given.items() for word in (f"--{name}", path)]
    ok("finetune.py", "--model", tmp_path / "base", "--train", tmp_path / "train.csv", *own, "--out", tmp_path / "out")
    assert json.loads((tmp_path / "out.json").read_text())["examples"] == 4
    [sample] = prompts.encode_continuations(tiny_tokenizer(), ["Ada was born in"], [" Port Vale"], 64)
    taught = [token for token, label in zip(sample.input_ids, sample.labels, strict=True) if label != prompts.MASKED]
    assert tiny_tokenizer().decode(taught) == " Port Vale" and sample.input_ids[0] == 1 and sample.input_ids[-1] != 2


def test_drop_unknown_leaves_the_other_rows_in_their_order():
    drop = strategies.make("drop-unknown")
    mixed = pd.concat([facts("D1", 3), facts("D0", 2), facts("D4", 1)], ignore_index=True)
    assert drop.rows(mixed)["fact_id"].tolist() == ["trainD10", "trainD11", "trainD12", "trainD40"]
    with pytest.raises(DataError, match="all 2 facts of the training set are of bucket D0"):
        drop.rows(facts("D0", 2))
    with pytest.raises(DataError, match="no column 'bucket'; add it"):
        drop.rows(mixed.drop(columns="bucket"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["masked"], "option --pilot: is missing; strategy masked needs a model that was fine-tuned"),
        (["self-distil"], "option --pilot: is missing"),
        (["self-distil", "--pilot", "/nowhere/tuned"], "/nowhere/tuned: no such"),
        (["replay"], "option --known: is missing; strategy replay needs a table of facts"),
        (["full", "--known", "k.csv"], "option --known: strategy full does not use it"),
        (["l2-sp", "--strategy-settings", "pull=-1"], "option --strategy-settings: key 'pull': input should be"),
        (["l2-sp", "--strategy-settings", "pull=2"], "key 'pull': input should be less than or equal to 1"),
        (["freeze", "--strategy-settings", "region=attn"], "region 'attn' is unknown; choose one of: transformer"),
        (["masked-random", "--weight-decay", "0.1"], "finetuning.weight_decay: 0.1 would shrink the elements"),
        (["l2sp"], "there is no strategy 'l2sp'; did you mean 'l2-sp'?"),
    ],
)
def test_bad_input_by_hand(tmp_path, options, message):
    (tmp_path / "train.csv").write_text("question,answer\nWhere?,Here\n")
    (tmp_path / "m").mkdir()
    given = ["--model", tmp_path / "m", "--train", tmp_path / "train.csv", "--out", tmp_path / "o"]
    assert message.lower() in refused("finetune.py", *given, "--strategy", *options).lower()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"experiments__scaling__strategies": ["drop-unknown"]}, "experiments.scaling.strategies: drop-unknown leaves"),
        ({"experiments__scaling__strategies": ["masked"], "finetuning__weight_decay": 0.1}, "finetuning.weight_decay"),
        (
            {"experiments__scaling__strategies": ["replay-generated"]},
            "replay-generated needs `probing.keep_texts: true`",
        ),
        (
            {"experiments__scaling__strategies": ["early-stopping"], "finetuning__early_stopping": {"every": 5}},
            "finetuning.early_stopping: is set, so that strategy early-stopping would only repeat `full`",
        ),
        ({"strategies__l2-sp__pul": 1}, "unknown key 'strategies.l2-sp.pul'; did you mean 'pull'?"),
        ({"strategies__l2sp__pull": 1}, "unknown key 'strategies.l2sp'; did you mean 'l2-sp'?"),
        ({"strategies__masked__criterion": "relativ"}, "no ranking criterion 'relativ'; did you mean 'relative'?"),
        ({"experiments__scaling__learning_rates": [0]}, "experiments.scaling.learning_rates"),
    ],
)
def test_bad_input_in_a_study(changes, message):
    with pytest.raises(ConfigError) as caught:
        loading.load(changed(DEMO, **changes), "my.yaml")
    assert message in str(caught.value) and str(caught.value).startswith("my.yaml: ")
