"""Claim C10: the k of a restoration is chosen on a task's dev examples and judged on its test examples."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import compared_strategies
from sftlens.dag import cells, contrasts
from sftlens.files import read_json, write_json, write_parquet
from sftlens.paper import verdicts
from sftlens.paper.claims import specification
from sftlens.paper.evidence import Missing
from sftlens.paper.measured import Measured
from sftlens.results import collect
from sftlens.results.answers import Answers

FILES = {"train": "g/train.jsonl", "test": "g/test.jsonl", "dev": "g/dev.jsonl"}
CONFIG: dict[str, Any] = {
    **compared_strategies.CONFIG,
    "study": "solving",
    "tasks": {"gsm8k": FILES},
    "scales": [8, 16],
    "experiments": {"restoration": {"train_sets": ["gsm8k"], "ratios": [20, 60]}},
}
DEV = {None: 0.3, 20: 0.4, 60: 0.6}
RIGHT = {None: 30, 20: 50, 60: 36}
"""Of 60 test examples: dev prefers k = 60 %, test would have preferred k = 20 %."""


def answers(config: dict[str, Any]) -> Answers:
    study, paths = compared_strategies.make(config)
    for product in cells.distinct(study):
        if product.stage in contrasts.ANSWERED:
            path = Path(paths.summary(product))
            summary = read_json(path, dict[str, Any])
            place = {"metric": "final_number", "split": "gsm8k-dev", "bucket": "all", "relation": "", "n": 40}
            write_json(path, {**summary, "metrics": [*summary["metrics"], {**place, "value": DEV[product.ratio]}]})
            table = pd.read_parquet(path.with_name("answers.parquet"))
            right = np.arange(60) < RIGHT[product.ratio] + product.cell.seed * (product.ratio is not None)
            task = pd.DataFrame({"fact_id": [f"gsm8k/{i:02}" for i in range(60)], "split": "gsm8k",
                                 "final_number": right.astype(float)})  # fmt: skip
            shuffled = pd.concat([table, task]).sample(frac=1, random_state=product.cell.seed, ignore_index=True)
            write_parquet(path.with_name("answers.parquet"), shuffled)
    return Answers(study, list(cells.distinct(study)), collect.collect(study)[0])


def test_dev_examples_choose_k_and_test_examples_judge_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    measured = Measured("one", answers(CONFIG))
    [part] = measured.tasks()
    assert part.label == "gsm8k, n = 16, k = 60 %" and part.seeds == 3
    gains = 100 * np.array([6, 7, 8]) / 60
    assert part.value == pytest.approx(gains.mean())
    # Questions and seeds enter: var_s / S + var_q / N.
    d = np.select([np.arange(60) < 30, np.arange(60) < 36, np.arange(60) == 36, np.arange(60) == 37],
                  [0, 100, 200 / 3, 100 / 3], 0)  # fmt: skip
    assert part.se == pytest.approx(np.sqrt(gains.var(ddof=1) / 3 + d.var(ddof=1) / 60))
    verdict = verdicts.judge("C10", measured, "tasks", specification())
    assert (verdict.verdict, verdict.label) == (verdicts.UNDECIDED, part.label)


def test_without_dev_examples_it_is_not_testable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    unchosen = {**CONFIG, "tasks": {"gsm8k": {key: FILES[key] for key in ("train", "test")}}}
    with pytest.raises(Missing, match=r"key 'tasks.gsm8k.dev' is unset: k is chosen on its examples"):
        Measured("one", answers(unchosen)).tasks()
    tasks = {"gsm8k": FILES, "reversal": {"train": "r/train.jsonl", "test": "r/test.jsonl"}}
    both = {"restoration": {"train_sets": ["reversal", "gsm8k"], "ratios": [20, 60]}}
    unpublished = {"tasks": tasks, "experiments": both}
    [part] = Measured("one", answers({**CONFIG, **unpublished})).tasks()  # the claim is about published tasks
    assert part.label.startswith("gsm8k")
    lost = answers(CONFIG)
    product = next(p for p in cells.distinct(lost.paths.study) if p.ratio == 20 and p.cell.scale == "16")
    Path(lost.paths.summary(product)).unlink()
    study = lost.paths.study
    rows, missing = collect.collect(study)
    there = [p for p in cells.distinct(study) if p not in missing]
    with pytest.raises(Missing, match="failed or unfinished: gsm8k, n = 16, 20 %, seed 0"):
        Measured("one", Answers(study, there, rows, cells.distinct(study))).tasks()
