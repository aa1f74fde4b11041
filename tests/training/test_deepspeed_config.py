"""What a file of DeepSpeed options may say, and how the rest is refused."""

import json
from pathlib import Path

import pytest
import yaml

from demo_study import DEMO, changed
from dry_runs import planned
from repository import ROOT
from sftlens.config.stages.training import FinetuneSettings
from sftlens.errors import ConfigError, DataError
from sftlens.training.deepspeed_config import engine_config

SHIPPED = ROOT / "config" / "deepspeed"


def merged(path: Path, **values: object) -> dict:
    return engine_config(FinetuneSettings(deepspeed=str(path), **values), 4, 2)


@pytest.mark.parametrize("path", sorted(SHIPPED.iterdir()), ids=lambda path: path.stem)
def test_shipped_files_fit_the_settings_that_they_are_named_after(path):
    offload = "parameters" if path.stem.endswith("offload") else "none"
    stage = int(path.stem.removeprefix("zero")[0])
    found = merged(path, zero_stage=stage, offload=offload)
    given = json.loads(path.read_text())["zero_optimization"]
    assert {key: found["zero_optimization"][key] for key in given} == given


def test_a_file_adds_to_ours_and_changes_none_of_it(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text('{"wall_clock_breakdown": true, "zero_optimization": {"reduce_bucket_size": 1000}}')
    plain = engine_config(FinetuneSettings(), 4, 2)
    added = {"stage": 1, "overlap_comm": False, "reduce_bucket_size": 1000}
    assert merged(path) == {**plain, "wall_clock_breakdown": True, "zero_optimization": added}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"zero_optimisation": {}}, ["unknown key 'zero_optimisation'", "did you mean 'zero_optimization'?"]),
        ({"zero_optimization": {"reduce_bucket": 1}}, ["zero_optimization.reduce_bucket'", "'reduce_bucket_size'?"]),
        ({"train_batch_size": 16}, ["'train_batch_size'", "set finetuning.batch_size"]),
        ({"scheduler": {}}, ["'scheduler'", "finetuning.learning_rate and warmup_steps"]),
        ({"bf16": {"enabled": False}}, ["'bf16'", "finetuning.dtype"]),
        ({"zero_optimization": {"stage": 3}}, ["stage' is 3", "zero_stage is 1", "set finetuning.zero_stage: 3"]),
        (
            {"zero_optimization": {"offload_optimizer": {"device": "cpu"}}},
            ["'zero_optimization.offload_optimizer'", "set finetuning.offload: optimizer"],
        ),
        ({"zero_optimization": {"offload_param": {"device": "nvme"}}}, ["'nvme'", "only 'cpu' is supported"]),
        ({"zero_optimization": {"offload_param": {"devise": "cpu"}}}, ["offload_param.devise'", "'device'?"]),
        ({"zero_optimization": {"reduce_bucket_size": "many"}}, ["reduce_bucket_size'", "correct it there"]),
        ({"zero_optimization": 2}, ["'zero_optimization' holds no mapping but int"]),
        ([], ["holds no mapping but list"]),
    ],
)
def test_what_a_file_may_not_say_is_refused_with_the_remedy(tmp_path, given, words):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(given))
    with pytest.raises(ConfigError) as caught:
        merged(path)
    assert [word for word in [str(path), *words] if word not in str(caught.value)] == []


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"none\.json: no such file; correct finetuning\.deepspeed"):
        merged(tmp_path / "none.json")


def test_what_a_file_may_not_say_is_found_before_anything_runs(tmp_path):
    """Not after the probing of a model, which costs most."""
    path, config = tmp_path / "mine.json", tmp_path / "my.yaml"
    path.write_text('{"zero_optimization": {"stage": 3}}')
    config.write_text(yaml.safe_dump(changed(DEMO, finetuning__deepspeed=str(path))))
    run = planned(tmp_path, config)
    assert run.returncode == 1 and "Traceback" not in run.stderr
    assert run.stderr.splitlines()[-1].startswith(f"error: {path}: key 'zero_optimization.stage' is 3, but")
