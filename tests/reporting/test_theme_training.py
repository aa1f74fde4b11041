"""Trainings on the page: loss curves, what was answered meanwhile, which ended early."""

from pathlib import Path

import pytest
from test_intervals import CONFIG, mastery

from script_calls import ok, refused
from sftlens.config import loading
from sftlens.dag import cells, recorded
from sftlens.dag.paths import Paths
from sftlens.dag.targets import WATCHED, wanted, why_unknown
from sftlens.files import write_json, write_parquet
from sftlens.reporting import frames
from sftlens.reporting.themes import training

AXES = {"train_sets": ["D0", "D1"], "scales": [8, 480], "seeds": [0, 1], "shots": 0}
STUDY = {**CONFIG, "models": {"one": CONFIG["models"]["one"]}, "experiments": {"divergence": AXES | {"base": False}}}
STUDY["experiments"]["divergence"].pop("shots")
WATCHED_STUDY = {**STUDY, "evaluation": {"during": [5, 50], "stop_when_lost": 10}}


def trained(cell: cells.Cell) -> dict:
    """Return the summary of a training of n / 8 steps; that on D0 at 480 with seed 1 is stopped after step 50."""
    steps = int(cell.scale) // 8
    stopped = cell.train_set == "D0" and steps == 60 and cell.seed == 1
    steps = 50 if stopped else steps
    losses = [2.0 + cell.seed + 1 / (1 + i) for i in range(steps)]
    looks = [step for step in (0, 5, 50, 60) if step <= steps]
    rows = [{"step": s, "split": p, "bucket": b, "right": 9 - s // 10 - cell.seed, "n": 10}
            for s in looks for p, b in (("test", "D4"), ("test", "D0"), ("test", "all"), ("", "known"))]  # fmt: skip
    made = {"metrics": [], "losses": losses, "supervised_tokens": [2] * steps, "learning_rates": [1e-5] * steps}
    made |= {"gradient_norms": [], "during": rows}
    return made | ({"stopped": {"step": 50, "points_lost": 12.5, "facts": 10, "why": "text"}} if stopped else {})


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    study = loading.load(WATCHED_STUDY)
    recorded.record(study)
    paths = Paths(study)
    for product in cells.distinct(study):
        summary = Path(paths.summary(product))
        write_json(summary, trained(product.cell) if product.stage == "finetune" else {"metrics": []})
        if product.stage == "mastery":
            write_parquet(summary.with_name("mastery.parquet"), mastery(product.cell.model))
    return tmp_path / paths.root


def test_a_loss_curve_has_the_mean_of_a_few_steps_a_point(root: Path) -> None:
    ok("collect.py", "fake", "--figure", "losses")
    table = frames.read_csv(root / "figures/losses.csv")
    long = table[(table["Trained on"] == "D1") & (table["n"] == "480")]
    assert long["Step"].tolist() == list(range(3, 61, 3)) and set(long["Seeds"]) == {2}
    first = [2.5 + (1 + 1 / 2 + 1 / 3) / 3, 2**-0.5]
    assert long[[training.LOSS, f"{training.LOSS} SD"]].iloc[0].tolist() == pytest.approx(first, abs=0.006)
    short = table[(table["Trained on"] == "D1") & (table["n"] == "8")]
    assert short["Step"].tolist() == [1]
    stopped = table[(table["Trained on"] == "D0") & (table["n"] == "480")].set_index("Step")["Seeds"]
    assert stopped.index.tolist() == list(range(3, 61, 3)) and stopped[51] == 2 and stopped[54] == 1
    ok("collect.py", "fake", "--figure", "during")
    assert (root / "figures/during.svg").stat().st_size > 1000


def test_what_is_answered_meanwhile_is_a_mean_over_seeds(root: Path) -> None:
    ok("collect.py", "fake", "--figure", "during")
    table = frames.read_csv(root / "figures/during.csv")
    rows = table[(table["Trained on"] == "D1") & (table["n"] == "480") & (table["Asked"] == "ID test, D4")]
    assert rows["Step"].tolist() == [0, 5, 50, 60] and rows[frames.ACCURACY].tolist() == [85, 85, 35, 25]
    assert set(rows["Facts"]) == {10} and set(rows["Seeds"]) == {2}
    assert set(table["Asked"]) == {"ID test", "ID test, D0", "ID test, D4", training.KNOWN}
    rows = table[(table["Trained on"] == "D0") & (table["n"] == "480") & (table["Asked"] == training.KNOWN)]
    assert rows.set_index("Step")["Seeds"].to_dict() == {0: 2, 5: 2, 50: 2, 60: 1}


def test_the_page_says_which_ended_early(root: Path) -> None:
    ok("collect.py", "fake", "--table", "trainings")
    table = frames.read_csv(root / "tables/trainings.csv")
    found = table[(table["Trained on"] == "D0") & (table["n"] == "480")].iloc[0]
    assert found["Ended early"] == "seed 1 after step 50: 12.5 points lost" and found["Steps"] == 55
    assert (table.loc[table["n"] == "8", "Ended early"] == "").all()
    ok("collect.py", "fake", "--partial")
    page = (root / "partial/report.html").read_text()
    for name in ("losses", "during", "trainings"):
        section = page.split(f'<section id="{name}">')[1].split("</section>")[0]
        assert "No results yet" not in section
        assert ("<img" in section) == (name != "trainings")
    assert "seed 1 after step 50: 12.5 points lost" in page
    shown = page.split('<section id="losses">')[1].split("</section>")[0]
    assert ">480<" in shown or '"480"' in shown
    summary = root / "one/D0/n480/seed0/full/finetune.json"
    summary.unlink()
    ok("collect.py", "fake", "--partial")
    table = frames.read_csv(root / "partial/tables/trainings.csv")
    assert table.loc[(table["Trained on"] == "D0") & (table["n"] == "480"), "Seeds"].tolist() == [1]
    assert "finetune.json: missing" in refused("collect.py", "fake", "--figure", "losses")


def test_only_a_study_that_asks_meanwhile_has_the_curve() -> None:
    plain, watched = loading.load(STUDY), loading.load(WATCHED_STUDY)
    assert {"losses", "trainings"} <= set(wanted(plain)) and "during" not in wanted(plain)
    assert "during" in wanted(watched) and WATCHED not in why_unknown(plain, "during")
    assert why_unknown(plain, "during").endswith("set evaluation.during")
