"""The table of claims: verdicts on an invented study whose truth is known, made by the script from its files."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from repository import ROOT
from script_calls import ok
from sftlens.config import loading
from sftlens.dag import cells, contrasts, recorded
from sftlens.dag.cells import Product
from sftlens.dag.paths import Paths
from sftlens.data.buckets import BUCKETS
from sftlens.files import read_json, read_parquet, write_json, write_parquet
from sftlens.paper.measured import first_half
from sftlens.reporting import frames

GEOMETRY = {"layers": 4, "hidden_size": 8, "intermediate_size": 8, "heads": 2, "kv_heads": 2, "vocab_size": 9}
AXES = {"seeds": [0, 1, 2]}
CONFIG = {
    "study": "fake",
    "templates": str(ROOT / "config/relations.yaml"),
    "models": {"one": {"source": "path", "path": "models/one", "geometry": GEOMETRY}},
    "experiments": {
        "scaling": {**AXES, "scales": [60, 240, 480], "shots": 0},
        "divergence": {**AXES, "scales": [60, 240, 480]},
        "restoration": {**AXES, "scales": [240, 480], "ratios": [20], "criteria": ["relative", "interpolation"]},
        "concentration": {**AXES, "scales": [240, 480]},
        "blocks": {**AXES, "scales": [240], "size": 1},
    },
}
STUDY = loading.load(CONFIG)
PATHS = Paths(STUDY)
FACTS = 400


def questions() -> pd.DataFrame:
    rows = [
        {"fact_id": f"{split}/{i}", "split": split, "relation": f"P{i % 4}", "bucket": BUCKETS[i % 5]}
        for split in ("test", "testood")
        for i in range(FACTS)
    ]
    return pd.DataFrame(rows)


def truth(product: Product) -> float:
    """Return the accuracy of one cell: 20 points lost from 240 to 480, a third of it restored, most of it on D0."""
    cell = product.cell
    value = {"0": 0.5, "60": 0.4, "240": 0.6, "480": 0.4}[cell.scale] + 0.02 * BUCKETS.index(
        cell.train_set.replace("base", "D0")
    )
    if product.ratio == 20:
        value += {"240": 0.0, "480": 0.1}[cell.scale] * (2 if cell.train_set == "D0" else 0.5)
    if product.region == "layers0-0":
        value -= 0.3
    return value


def metrics(product: Product) -> list[dict[str, object]]:
    row = {"split": "", "bucket": "", "relation": "", "layer": "", "module": "", "n": 1}
    if product.stage == "finetune":
        return [row | {"metric": "examples", "value": int(product.cell.scale)}]
    if product.stage == "changes":
        shares = {"share_of_change": {1: 0.7, 20: 0.92}, "null_share_of_change": {1: 0.695, 20: 0.92}}
        return [
            row | {"metric": name, "value": value + 0.0001 * product.cell.seed * (name[0] == "s"), "ratio": ratio}
            for name, values in shares.items()
            for ratio, value in values.items()
        ]
    if product.stage in contrasts.ANSWERED:
        own = row | {"split": "train", "bucket": "all", "metric": "contains"}
        return [own | {"value": truth(product) + 0.001 * product.cell.seed}]
    return []


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a finished study."""
    monkeypatch.chdir(tmp_path)
    recorded.record(STUDY)
    asked = questions()
    for product in cells.distinct(STUDY):
        summary = Path(PATHS.summary(product))
        write_json(summary, {"metrics": metrics(product)})
        rng = np.random.default_rng(
            int(hashlib.sha256(product.path.encode()).hexdigest()[:8], 16) if product.stage != "mastery" else 0
        )
        if product.stage == "mastery":
            write_parquet(summary.with_name("mastery.parquet"), asked)
        elif product.stage in contrasts.ANSWERED:
            right = rng.random(len(asked)) < truth(product)
            write_parquet(summary.with_name("answers.parquet"), asked.assign(contains=right, output="an answer"))
        elif product.stage == "divergence":
            d4 = asked[(asked["bucket"] == "D4") & (asked["split"] == "test")][["fact_id"]]
            # KL is lowest where the accuracy is highest.
            write_parquet(
                summary.with_name("kl.parquet"), d4.assign(kl=2 - truth(product) + 0.01 * rng.random(len(d4)))
            )
    return tmp_path / PATHS.root


def claims(root: Path, *how: str) -> pd.DataFrame:
    ok("collect.py", "fake", *(how or ("--table", "claims")))
    table = frames.read_csv((root / "partial" if how else root) / "tables" / "claims.csv")
    table.index = table["Claim"].str.split().str[0] + " " + table["Tested on"]
    return table


def test_the_verdicts_are_those_of_the_truth(root: Path) -> None:
    table = claims(root)
    verdict = table["Verdict"]
    assert len(table) == 18 and (table["Model"] == "one").all()
    assert verdict[["C1 ID test", "C1 OOD test"]].tolist() == ["reproduced"] * 2
    assert verdict["C2 ID test"] == "reproduced"
    assert table["Effect"]["C4 ID test"] > 0.5 > table["Low"]["C4 ID test"]  # 15 cells: a wide interval
    assert "KL lowest at 240: 5 of 5 buckets" in table["Remarks"]["C4 ID test"]
    # As concentrated as the permuted change: no sign of learning.
    assert (
        verdict["C5 Parameters"] == "not reproduced" and "share as printed: 70.0 %" in table["Remarks"]["C5 Parameters"]
    )
    assert verdict[["C7 ID test", "C9 Train", "C11 ID test"]].tolist() == ["reproduced"] * 3
    assert "relative minus interpolation" in table["Remarks"]["C7 ID test"]
    assert verdict[["C10 XSum, GSM8K", "C12 ID test"]].tolist() == ["not testable"] * 2


def test_the_effect_is_that_of_the_answers(root: Path) -> None:
    def macro(train_set: str, scale: int) -> float:
        found = []
        for seed in range(3):
            answers = read_parquet(root / "one" / train_set / f"n{scale}" / f"seed{seed}/full/evaluate/answers.parquet")
            found.append(answers[answers["split"] == "test"].groupby("bucket")["contains"].mean().mean())
        return 100 * float(np.mean(found))

    table = claims(root)
    loss = np.mean([macro(name, 240) - macro(name, 480) for name in BUCKETS])
    assert table["Effect"]["C1 ID test"] == pytest.approx(loss, abs=0.0051)
    assert table["Effect"]["C3 ID test"] == pytest.approx(macro("D2", 480) - macro("D0", 480), abs=0.0051)


def test_the_noise_of_the_permutations_is_part_of_the_interval_of_c5(root: Path) -> None:
    """Permutations whose shares differ by more than the margin of 2 points leave the claim undecided."""
    calm = claims(root).loc["C5 Parameters"]
    noise = np.random.default_rng(0)
    for path in sorted(root.glob("one/D*/n480/seed*/full/changes/relative-transformer/summary.json")):
        rows = read_json(path)["metrics"]
        draw = 0.05 * noise.standard_normal()
        write_json(path, {"metrics": [r | {"value": r["value"] + draw * (r["metric"][0] == "n")} for r in rows]})
    noisy = claims(root).loc["C5 Parameters"]
    assert noisy["High"] - noisy["Low"] > 3 + 2 * (calm["High"] - calm["Low"])
    assert (calm["Verdict"], noisy["Verdict"]) == ("not reproduced", "undecided")


def test_a_failed_cell_blocks_the_verdicts_that_need_it(root: Path) -> None:
    (root / "one/D3/n480/seed1/full/evaluate/summary.json").unlink()
    table = claims(root, "--partial")
    assert table["Verdict"]["C1 ID test"] == "not testable"
    assert table["Remarks"]["C1 ID test"] == "failed or unfinished: D3, n = 480, seed 1"
    assert table["Verdict"]["C3 ID test"] in ("reproduced", "undecided")


def test_the_halves_of_the_facts_are_fixed() -> None:
    assert 150 < sum(first_half(f"test/{i}") for i in range(FACTS)) < 250
    assert first_half("test/0") == (hashlib.sha256(b"test/0").digest()[0] % 2 == 0)
