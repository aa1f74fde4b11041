"""Facts asked while a model is trained: nothing of the training changes, and it stops when enough is lost."""

import json

import pandas as pd
import pytest

import process_groups
from demo_study import demo
from script_calls import ok, refused
from sftlens import strategies
from sftlens.config.stages.evaluation import DuringSettings, EvaluationSettings
from sftlens.config.stages.training import FinetuneSettings
from sftlens.dag.jobs import Jobs
from sftlens.errors import ConfigError, DataError
from sftlens.evaluation import answering
from sftlens.inference import prompts
from sftlens.models import checkpoints
from sftlens.runtime import events
from sftlens.training import deepspeed_engine, loop
from sftlens.training.during import ROWS, Asked
from strategy_runs import RECIPE, SEED, samples
from tiny import tiny_model, tiny_tokenizer

NEW = 5
STEPS = 6  # three epochs of twelve samples


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base") / "model"
    tiny_model(folder)
    return folder


def answers(folder, facts):
    """Return the greedy answers of a model as `sftlens evaluate` has them."""
    settings = EvaluationSettings(max_new_tokens=NEW)
    return answering.answer(checkpoints.load_model(folder), tiny_tokenizer(), facts, settings)


@pytest.fixture(scope="module")
def facts(base):
    """More questions than a process answers at a time; the base answers every second one as it should."""
    rows = [
        {"fact_id": f"f{i}", "split": ("train", "test")[i // 50], "bucket": f"D{i % 5}", "aliases": ["Nowhere"],
         "question": f"Where was {'Ada ' * (1 + i % 3)}{i} born?"}
        for i in range(ROWS + 6)
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    said = answers(base, table)["output"]
    table["aliases"] = [[text.strip() or "?"] if i % 2 else ["Nowhere"] for i, text in enumerate(said)]
    return table


def asked(facts, **values):
    ids = prompts.encode_prompts(tiny_tokenizer(), facts["question"].tolist())
    during = DuringSettings(**{"during": [2, 4, 99], **values})
    return Asked(ids, facts["aliases"].tolist(), facts["split"].tolist(), facts["bucket"].tolist(), during, NEW)


def run(base, out, facts=None, strategy="full", resume=None, told=None, values=None, **recipe):
    settings = FinetuneSettings(**RECIPE | {"epochs": 3, "checkpoint_steps": 3} | recipe)
    looked = None if facts is None else asked(facts, **(values or {}))
    way = strategies.make(strategy, given={"model": base}, seed=SEED)
    how = {"strategy": way, "resume": resume, "told": told, "asked": looked}
    return loop.finetune(base, samples(), settings, tiny_tokenizer(), out, SEED, **how)


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def counted(table):
    """Return the rows of one look from the table of an evaluation."""
    found = []
    for split, part in table.groupby("split", sort=False):
        groups = [(bucket, part[part["bucket"] == bucket]) for bucket in sorted(set(part["bucket"]))]
        found += [(split, name, int(g["contains"].sum()), len(g)) for name, g in [*groups, ("all", part)]]
    return found


WAYS = [("full", stage, "float32") for stage in (0, 1, 2, 3)]
WAYS += [("full", 2, "bfloat16"), ("lora", 1, "float32"), ("lora", 3, "float32"), ("kl", 1, "float32")]


@pytest.mark.parametrize(("strategy", "stage", "dtype"), WAYS)
def test_a_look_counts_what_an_evaluation_counts_and_changes_nothing(base, facts, tmp_path, strategy, stage, dtype):
    how = {"strategy": strategy, "zero_stage": stage, "dtype": dtype}
    plain = run(base, tmp_path / "plain", **how)
    watched = run(base, tmp_path / "watched", facts, **how)
    assert files(tmp_path / "plain") == files(tmp_path / "watched")
    assert watched.losses == plain.losses and plain.during == [] and watched.stopped is None
    looks = {}
    for row in watched.during:
        looks.setdefault(row["step"], []).append((row["split"], row["bucket"], row["right"], row["n"]))
    assert list(looks) == [0, 2, 4, STEPS]
    if dtype == "float32":  # in half precision near-ties between two tokens depend on what is computed beside them
        assert looks[0] == counted(answers(base, facts))
        assert looks[STEPS] == counted(answers(tmp_path / "watched", facts))
    assert {row[1] for row in looks[0]} == {"D0", "D1", "D2", "D3", "D4", "all"} and looks[0] != looks[STEPS]


@pytest.mark.parametrize("stage", [0, 3])
def test_a_run_that_goes_on_looks_once_at_each_step_and_ends_with_the_same_bytes(base, facts, tmp_path, stage):
    whole = run(base, tmp_path / "whole", facts, zero_stage=stage)
    resume, told = loop.Resume(tmp_path / "state"), tmp_path / "out.jsonl"
    for attempt in "ab":  # the second goes on from the state after the third step
        again = run(base, tmp_path / attempt, facts, resume=resume, told=told, zero_stage=stage)
        assert again.during == whole.during and files(tmp_path / attempt) == files(tmp_path / "whole")
        lines = [json.loads(line) for line in told.read_text().splitlines()]
        assert [{k: v for k, v in line.items() if k not in events.TIMES} for line in lines] == events.of(vars(whole))
    assert (tmp_path / "state" / "step-3").is_dir()


def _two(rank, base, facts, out):
    with deepspeed_engine.process_group():
        for stage in (1, 3):
            report = run(base, out / str(stage), facts, zero_stage=stage, values={"stop_when_lost": 20})
            (out / f"{stage}-{rank}.json").write_text(json.dumps([report.during, report.stopped]))


def test_processes_share_the_questions_and_stop_together(base, facts, tmp_path):
    few = facts[:3].assign(bucket="D4", split="train")  # one process has a question more than the other
    assert process_groups.run(_two, 2, base, few, tmp_path) == [0, 0]
    one = run(base, tmp_path / "one", few, values={"stop_when_lost": 20})
    assert one.stopped
    for found in ("1-0", "1-1", "3-0", "3-1"):
        during, stopped = json.loads((tmp_path / f"{found}.json").read_text())
        assert (during, stopped) == (one.during, one.stopped)


def test_it_stops_when_so_many_points_of_what_the_base_knew_are_lost(base, facts, tmp_path, capsys):
    report = run(base, tmp_path / "out", facts, values={"stop_when_lost": 10}, learning_rate=0.05)
    known = [row for row in report.during if row["bucket"] == "known"]
    assert known[0]["n"] == 20  # D3 and D4 of split train: no test fact
    lost = [100 * (max(r["right"] for r in known[: i + 1]) - row["right"]) / 20 for i, row in enumerate(known)]
    assert all(points < 10 for points in lost[:-1]) and lost[-1] >= 10
    stop = known[-1]["step"]
    assert stop == len(report.losses) < STEPS and report.stopped
    assert (report.stopped["step"], report.stopped["points_lost"]) == (stop, lost[-1])
    said = capsys.readouterr().err
    assert f"training stops after step {stop} of {STEPS}: of 20 facts that the base knows" in said
    assert f"{lost[-1]:.1f} points lost, stop_when_lost is 10" in said
    assert run(base, tmp_path / "end", facts, values={"stop_when_lost": 100}).stopped is None


def test_a_prompt_beyond_the_context_is_refused_before_training(base, facts, tmp_path):
    long = facts.assign(question=facts["question"] + " or not" * 150)
    with pytest.raises(DataError, match="do not fit the model's context"):
        run(base, tmp_path / "out", long)
    assert not (tmp_path / "out").exists()


def test_by_hand(base, facts, tmp_path, capsys):
    train = pd.DataFrame({"question": [f"Where was Eve {i} born?" for i in range(16)], "object": "Port Vale"})
    train.to_parquet(tmp_path / "train.parquet")
    own = facts.assign(object=[names[0] for names in facts["aliases"]])
    own.loc[:8, "question"] = train["question"][:9]  # trained on, so they are not asked
    own.to_parquet(tmp_path / "facts.parquet")
    given = ["--model", base, "--train", tmp_path / "train.parquet", "--dtype", "float32", "--zero-stage", 0]
    given += ["--learning-rate", 0.05, "--epochs", 4, "--out", tmp_path / "out"]
    looks = ["--evaluate-at", 2, 4, "--facts", tmp_path / "facts.parquet", "--max-new-tokens", NEW]
    ok("finetune.py", *given, *looks, "--during-facts", 12, "--events", tmp_path / "out.jsonl")
    summary = json.loads((tmp_path / "out.json").read_text())
    steps = [row["step"] for row in summary["during"] if (row["split"], row["bucket"]) == ("test", "all")]
    assert steps == [0, 2, 4, 8] and "stopped" not in summary
    assert {row["n"] for row in summary["during"] if row["bucket"] == "all"} == {12}
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines].count("during") == len(summary["during"])

    # Asked besides, where it is wanted: as many of the nine facts that are trained on, under a split of their own.
    ok("finetune.py", *given, *looks, "--during-facts", 12, "--during-trained", 7, "--out", tmp_path / "more")
    rows = json.loads((tmp_path / "more.json").read_text())["during"]
    own = [row for row in rows if row["split"] == "trained" and row["bucket"] == "all"]
    assert [(row["step"], row["n"]) for row in own] == [(0, 7), (2, 7), (4, 7), (8, 7)]
    assert [row for row in rows if row["split"] != "trained"] == summary["during"]

    ok("finetune.py", *given, *looks, "--stop-when-lost", 5)
    summary = json.loads((tmp_path / "out.json").read_text())
    stopped = summary["stopped"]
    assert stopped["facts"] == 17  # of the 20 train facts of D3 and D4 three are trained on
    assert {row["metric"]: row["value"] for row in summary["metrics"]}["stopped_after_step"] == stopped["step"]
    assert f"stopped after step {stopped['step']}" in capsys.readouterr().err.splitlines()[-1]

    assert "--facts: is missing, but --evaluate-at" in refused("finetune.py", *given, "--evaluate-at", 2)
    assert "--evaluate-at: is missing, but --facts" in refused("finetune.py", *given, *looks[3:5])
    assert "needs steps to look at" in refused("finetune.py", *given, "--stop-when-lost", 5)
    facts.assign(split="test", object="X").to_parquet(tmp_path / "facts.parquet")
    nothing = refused("finetune.py", *given, *looks, "--stop-when-lost", 5)
    assert "facts.parquet: no fact that is asked is of D3 or D4 and neither trained on nor a test fact" in nothing
    train.to_parquet(tmp_path / "facts.parquet")
    assert "has no fact that is not trained on" in refused("finetune.py", *given, *looks)


def test_in_a_study_only_the_training_is_told():
    jobs, plain = Jobs(demo(evaluation={"during": [5, 50], "stop_when_lost": 8})), Jobs(demo())
    cell = next(product.cell for product in jobs.products if product.stage == "finetune")
    options = list(map(str, jobs.finetune_options(cell)))
    start = options.index("--evaluate-at")
    assert options[start:] == [
        "--evaluate-at", "5", "50", "--max-new-tokens", "16", "--during-facts", "100", "--stop-when-lost", "8.0"
    ]  # fmt: skip
    more = Jobs(demo(evaluation={"during": [5], "during_trained": 30})).finetune_options(cell)
    assert list(map(str, more))[-6:] == [
        "--max-new-tokens", "16", "--during-facts", "100", "--during-trained", "30"
    ]  # fmt: skip
    assert options[options.index("--facts") + 1] == jobs.mastery(cell) == jobs.finetune_inputs(cell)["facts"]
    assert options[: options.index("--facts")] == list(map(str, plain.finetune_options(cell)))
    assert jobs.evaluate_options(cell) == plain.evaluate_options(cell)
    with pytest.raises(ConfigError, match="'evaluation': stop_when_lost needs steps to look at"):
        demo(evaluation={"stop_when_lost": 8})
