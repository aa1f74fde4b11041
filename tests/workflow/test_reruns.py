"""What runs again when something changes: only what must."""

from pathlib import Path

import pytest
from study import LOG, configure, copy_run, planned

AGGREGATES = {"results": 1, "report": 1}


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return copy_run(finished, tmp_path / "repository")


def aggregates(**counts: int) -> dict[str, int]:
    return {**AGGREGATES, **counts}


def test_a_second_run_has_nothing_to_do(finished: Path):
    assert planned(finished) == {}


def test_snakemake_looks_for_jobs_when_one_has_finished(finished: Path):
    """Not ever more often while jobs wait."""
    log = (finished / LOG).read_text()
    assert 20 < log.count("Ready jobs: ") <= log.count("Finished jobid: ") + 5


def test_one_more_scale_runs_only_its_cells(run: Path, config: dict):
    config["experiments"]["scaling"]["scales"].append(24)
    configure(run, config)
    assert planned(run) == aggregates(finetune=2, evaluate=2, figure=9, table=8)


def test_one_more_seed_runs_only_its_cells(run: Path, config: dict):
    config["experiments"]["scaling"]["seeds"] = [0, 1]
    configure(run, config)
    assert planned(run) == aggregates(training_order=2, finetune=4, evaluate=4, figure=9, table=8)


def test_one_more_bucket_runs_only_its_cells(run: Path, config: dict):
    config["experiments"]["scaling"]["train_sets"].append("D1")
    configure(run, config)
    assert planned(run) == aggregates(training_order=1, finetune=2, evaluate=2, figure=9, table=8)


def test_one_more_ratio_runs_only_its_job(run: Path, config: dict):
    config["experiments"]["restoration"]["ratios"].append(40)
    configure(run, config)
    assert planned(run) == aggregates(restore=1, figure=4, table=7)


def test_choosing_experiments_runs_only_what_is_theirs(run: Path, config: dict):
    """Whatever is chosen, what exists stays; the table and the page are of the whole study, so that they stay, too."""
    for only in ("divergence", "scaling,restoration", "[mastery]"):
        assert planned(run, "--config", f"only={only}") == {}
    cell = run / "results/mini/tiny/mixed/n16/seed0/full"
    (cell / "evaluate/summary.json").unlink()
    (cell / "divergence/summary.json").unlink()
    assert planned(run, "--config", "only=divergence") == {"divergence": 1, "figure": 1}
    assert planned(run, "--config", "only=concentration") == {}


def test_rates_of_the_plan_rerun_nothing(run: Path, config: dict):
    config["plan"] = {"read": 1e7, "gpu": {"operations": 5e14}}
    configure(run, config)
    assert planned(run) == {}


def test_one_more_model_leaves_the_first_alone(run: Path, config: dict):
    config["models"]["other"] = {**config["models"]["tiny"], "pretraining": {"seed": 7}}
    for experiment in config["experiments"].values():
        experiment["models"] = ["tiny"]
    configure(run, config)
    assert planned(run) == {}
    config["experiments"]["scaling"]["models"] = ["tiny", "other"]
    configure(run, config)
    plan = planned(run)
    assert plan["base"] == plan["choose_templates"] == plan["mastery"] == 1
    assert plan["finetune"] == 4 and plan["evaluate"] == 6 and plan["restore"] == 0


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("tiny/mixed/n16/seed0/full/evaluate/summary.json", {"evaluate": 1, "figure": 9, "table": 10}),
        ("tiny/mixed/n16/seed0/full/evaluate/answers.parquet", {"evaluate": 1, "figure": 9, "table": 10}),
        ("tiny/mixed/n16/seed0/full/divergence/summary.json", {"divergence": 1, "figure": 2, "table": 1}),
        ("tiny/mixed/n16/seed0/full/divergence/kl.parquet", {"divergence": 1, "figure": 2, "table": 1}),
        (
            "tiny/mixed/n16/seed0/full/restore/relative-transformer/k5/summary.json",
            {"restore": 1, "figure": 4, "table": 7},
        ),
    ],
)
def test_a_deleted_result_is_made_again_with_what_follows(run: Path, path: str, expected: dict):
    (run / "results/mini" / path).unlink()
    assert planned(run) == aggregates(**expected)


def test_a_deleted_result_is_noticed_by_its_figure(run: Path):
    (run / "results/mini/tiny/mixed/n16/seed0/full/evaluate/summary.json").unlink()
    assert planned(run, "fig2") == {"evaluate": 1, "figure": 1, "fig2": 1}


def test_a_deleted_picture_is_drawn_again(run: Path):
    (run / "results/mini/figures/fig2.pdf").unlink()
    plan = planned(run)
    assert plan["figure"] == 1 and not plan.keys() & {"evaluate", "finetune"}


def edit(run: Path, path: str, old: str, new: str) -> None:
    """Replace text in a file of the copied package."""
    source = run / "src/sftlens" / path
    text = source.read_text()
    assert old in text
    source.write_text(text.replace(old, new))


def test_unrelated_keys_comments_words_and_speed_rerun_nothing(run: Path, config: dict):
    config["divergence"] = {"batch_tokens": 8192}  # its default, now said aloud
    configure(run, config)
    (run / "study.yaml").write_text("# a comment\n" + (run / "study.yaml").read_text())
    edit(run, "evaluation/answering.py", '"""Closed-book question answering', '# a comment\n\n"""Answers to questions')
    edit(run, "evaluation/answering.py", "there are {len(train)}; lower `shots`", "only {len(train)} are there")
    edit(run, "files.py", 'compression="zstd"', 'compression="zstd", compression_level=9')
    edit(run, "mastery/probe_shards.py", "SHARD_FACTS = 512", "SHARD_FACTS = 256")
    assert planned(run) == {}


def test_a_changed_setting_reruns_the_stages_that_use_it(run: Path, config: dict):
    config["evaluation"] = {"max_new_tokens": 12}
    configure(run, config)
    plan = planned(run)
    assert plan["evaluate"] == 6 and plan["restore"] == 4
    assert not plan.keys() & {"finetune", "mastery", "divergence", "changes"}


def test_a_raised_version_reruns_the_stage_and_what_follows(run: Path):
    edit(run, "runtime/result_version.py", '"divergence": 1', '"divergence": 2')
    assert planned(run) == aggregates(divergence=1, figure=2, table=1)
