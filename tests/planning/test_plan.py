"""What a study costs before anything runs: the arithmetic by hand, what is counted where, and choosing experiments."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from demo_study import ROOT, demo
from dry_runs import planned, stats
from script_calls import ok, refused
from sftlens.config import loading
from sftlens.config.study import Study
from sftlens.dag.targets import select
from sftlens.errors import ConfigError
from sftlens.planning import job_list
from sftlens.planning.plan import Plan
from sftlens.resources.costs import Costs
from sftlens.resources.job import Cost, Job
from sftlens.resources.requests import Resources

PAPER = ROOT / "config" / "paper.yaml"
LLAMA_3_8B = 8_030_261_248
"""Parameters, as its publishers count them."""


@pytest.fixture(autouse=True)
def no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ENTITY_QUESTIONS_DIR", raising=False)


def paper(**finetuning: object) -> Study:
    study = loading.load_file(PAPER)
    return study.model_copy(update={"finetuning": study.finetuning.model_copy(update=finetuning)})


def training(study: Study, scale: str, model: str = "llama-3-8b") -> Cost:
    return Costs(study).of(Job("finetune", model, "D0", scale))


def test_a_training_is_what_one_reckons_by_hand() -> None:
    found = training(paper(keep="checkpoints"), "240")
    weights = 2 * LLAMA_3_8B  # bf16
    assert found.read == 2 * weights  # the base, once for all ranks at stage 3; the result, to hash it
    assert found.written == weights + 60e3
    steps = 240 / 8
    operations = 6 * (LLAMA_3_8B - 128256 * 4096) * 240 * 32  # all but the embedding, on 240 samples of 32 tokens
    computing = operations / (8 * 1e14)  # eight GPUs
    launching = steps * 3 * 32 * 5e-4  # one sample a GPU, 32 layers, three passes
    exchanging = steps * 3 * weights / 1e11  # the weights twice, the gradients once
    moving = 2 * weights / 2e9 + weights / 1e9
    seconds = 40 + computing + launching + exchanging + moving
    assert found.gpu_seconds == pytest.approx(8 * seconds)
    assert found.cpu_seconds == 0


def test_a_strategy_pays_for_its_rows_and_for_what_a_frozen_model_says_of_them() -> None:
    study, llama = paper(), paper().models["llama-3-8b"]

    def computing(strategy: str, scale: str = "240") -> float:
        return Costs(study).training_seconds(llama, Job("finetune", "llama-3-8b", "D0", scale, strategy=strategy))

    full, reading = computing("full"), 2 * (LLAMA_3_8B - 128256 * 4096) * 240 * 32 / (8 * 1e14)
    assert computing("l2-sp@3e-05") == computing("") == full
    assert computing("replay@3e-05") == computing("replay-generated") == computing("", "300")  # a fifth of its rows
    assert computing("kl") == computing("self-distil") == pytest.approx(full + reading)


def test_a_long_training_saves_states_of_twelve_bytes_a_parameter() -> None:
    study = paper(keep="checkpoints", checkpoint_steps=10)
    assert training(study, "240").written - training(paper(keep="checkpoints"), "240").written == 3 * 12 * LLAMA_3_8B
    disk = Plan(select(study)).disk()
    largest = 12 * 70_553_706_496
    assert disk["4 trainings at once"] == 4 * 2 * largest


def test_the_disk_follows_what_is_kept() -> None:
    kept = {keep: Plan(select(paper(keep=keep), ["blocks"])).disk() for keep in ("checkpoints", "deltas", "none")}
    sizes = {keep: disk[f"fine-tuned models (keep: {keep})"] for keep, disk in kept.items()}
    whole = 25 * 2 * LLAMA_3_8B
    assert sizes == {"checkpoints": whole, "deltas": pytest.approx(0.34 * whole), "none": 0}
    running = [kept[keep]["4 trainings at once"] for keep in ("checkpoints", "deltas", "none")]
    assert running == [0, 4 * 2 * LLAMA_3_8B, 2 * 4 * 2 * LLAMA_3_8B]


def test_every_job_counts_once_whichever_way_the_sums_go() -> None:
    plan = Plan(select(loading.load_file(PAPER)))
    text = plan.described().splitlines()
    jobs = {}
    for title in ("by stage", "by experiment", "by model"):
        start = next(i for i, line in enumerate(text) if line.startswith(title))
        rows = text[start + 1 : text.index("", start)]
        jobs[title] = sum(int(row[26:].split()[0].replace(",", "")) for row in rows)
    assert set(jobs.values()) == {plan.total().jobs} == {sum(job_list.jobs(select(loading.load_file(PAPER))).values())}


def test_experiments_that_share_their_cells_pay_once() -> None:
    study = loading.load_file(PAPER)
    both, scaling = (Plan(select(study, only)).total() for only in ("scaling,divergence", "scaling"))
    divergence = Plan(select(study, "divergence"))
    trained = [job for job, _ in divergence.priced if job.rule == "finetune"]
    assert len(trained) == 5 * (6 * 5 + 1)
    assert both.gpu_seconds - scaling.gpu_seconds < divergence.total().gpu_seconds / 5
    rows = [line.split() for line in Plan(select(study)).described().splitlines()]
    assert ["concentration", "0", "-", "-", "-", "-"] in rows


def test_the_demo_needs_no_gpu_and_a_model_on_gpus_hardly_a_cpu() -> None:
    total = Plan(select(demo())).total()
    assert total.gpu_seconds == 0 < total.cpu_seconds
    total = Plan(select(loading.load_file(PAPER))).total()
    assert total.cpu_seconds < total.gpu_seconds / 100


@pytest.mark.parametrize("name", ["llama-3-8b", "llama-2-13b"])
def test_what_a_job_is_expected_to_take_is_less_than_it_asks_slurm_for(name: str) -> None:
    """On one GPU each; a training or a probe may take longer, since it goes on in its next try."""
    study = loading.load_file(PAPER)
    limits = {rule: Resources(study).of(rule) for rule in ("evaluate", "divergence", "restore", "changes")}
    found = [(job, cost) for job, cost in Plan(select(study)).priced if job.model == name and job.rule in limits]
    assert {job.rule for job, _ in found} >= {"evaluate"}
    for job, cost in found:
        seconds = cost.gpu_seconds + cost.cpu_seconds
        assert 3 * seconds / 60 < limits[job.rule]["runtime"](SimpleNamespace(**vars(job)), attempt=1), job


def test_rates_are_the_user_s() -> None:
    before, after = (
        Plan(select(demo(plan=plan), "scaling")).total() for plan in ({}, {"cpu": {"operations": "1e10"}, "read": 1e6})
    )
    assert after.cpu_seconds > 2 * before.cpu_seconds and after.read == before.read


@pytest.mark.parametrize(
    ("only", "words"),
    [
        ("scalling", "there is no experiment 'scalling'; did you mean 'scaling'?"),
        ("scaling,bloks", "there is no experiment 'bloks'; did you mean 'blocks'?"),
        ("blocks", "the study has no experiment 'blocks'; add experiments.blocks, or choose from mastery, scaling"),
        (["qqq"], "the study has mastery, scaling, divergence"),
        ("", "only names no experiment; name some of mastery, scaling"),
    ],
)
def test_an_experiment_that_is_none_is_refused(only: object, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        select(demo(), only)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_choice_draws_what_can_be_drawn_from_it_alone() -> None:
    study = demo()
    assert set(select(study, "divergence").targets) == {"table1", "losses", "trainings", "fig5", "claims_paper"}
    assert set(select(study, "restoration, scaling").targets) == {
        "fig2", "fig4", "restoration", "table1", "table2", "table4", "judgements", "intervals", "contrasts", "flips",
        "flip_examples", "losses", "trainings", "table6", "claims_paper",
        "cost", "format", "gains", "overlap", "relations",
    }  # fmt: skip
    assert "intervals" not in select(study, ["scaling"]).targets  # it also holds the restored accuracies
    assert select(study).whole and not select(study, ["scaling"]).whole


@pytest.mark.parametrize("only", ["scaling,restoration", "divergence"])
def test_snakemake_plans_the_chosen_experiments(tmp_path: Path, only: str) -> None:
    found = stats(planned(tmp_path, PAPER, "--config", f"only={only}"))
    counted = job_list.jobs(select(loading.load_file(PAPER), only))
    assert found.pop("total") == sum(counted.values())
    assert found == counted
    assert "report" not in found


def test_the_plan_needs_neither_models_nor_data(tmp_path: Path) -> None:
    (tmp_path / "config").symlink_to(ROOT / "config")
    command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "plan", "--cores", "1"]
    given = ["--directory", str(tmp_path), "--configfile", str(PAPER), "--config", "only=blocks"]
    run = subprocess.run([*command, *given], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.rstrip() == Plan(select(loading.load_file(PAPER), "blocks")).described()
    assert not (tmp_path / "results").exists()


def test_by_hand_it_is_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    ok("plan.py", PAPER, "--only", "blocks,divergence")
    assert capsys.readouterr().out.rstrip() == Plan(select(loading.load_file(PAPER), "divergence,blocks")).described()
    assert "did you mean 'blocks'?" in refused("plan.py", PAPER, "--only", "block")
