"""Adaptive probing on a tiny model: real rounds, kept, resumed and side by side; what it writes and what is read."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from probe_tables import SENTENCES, facts_table
from probed_models import make, options
from script_calls import ok
from sftlens.config.stages.mastery import ProbingSettings
from sftlens.files import read_json, sha256, write_parquet
from sftlens.mastery import completions, mastery_table, probing
from sftlens.mastery.completions import SampledBatch
from sftlens.mastery.quality import answer_probability
from sftlens.models import checkpoints

SETTINGS = ProbingSettings(method="adaptive", calibration_facts=4, samples=4, max_new_tokens=3, batch_tokens=200)
ADAPTIVE = ["--method", "adaptive", "--calibration-facts", 4]
Made = Callable[..., probing.Prober]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("inputs"), subjects=4)


@pytest.fixture
def prober(inputs: Path, tmp_path: Path) -> Made:
    loaded = checkpoints.load_model(inputs / "base"), checkpoints.load_tokenizer(inputs / "base")

    def made(state: str = "state", loads: bool = True, **changes: object) -> probing.Prober:
        def load() -> tuple[object, object]:
            assert loads, "something was sampled"
            return loaded

        settings = SETTINGS.model_copy(update=changes)
        return probing.Prober(load, {"model": "m"}, SENTENCES, settings, tmp_path / state)  # type: ignore[arg-type]

    return made


@pytest.fixture(scope="module")
def facts() -> pd.DataFrame:
    return facts_table(("train", "test"), subjects=6)


def test_known_facts_have_their_full_probe_and_the_others_less(prober: Made, facts: pd.DataFrame) -> None:
    found = probing.probe(facts, prober())
    fixed = probing.probe(facts, prober(method="fixed")).table.set_index("fact_id")
    table = found.table.set_index("fact_id")
    full = table["trials"] == fixed["trials"]
    assert full.sum() >= 4 and not full.all()
    least = table["template_hits"].map(len).add(2) // 3
    assert (table["trials"] >= least).all() and (table["trials"] <= fixed["trials"]).all()
    for _, row in table.iterrows():
        assert all(0 <= h <= t for h, t in zip(row["template_hits"], row["template_trials"], strict=True))
    assert found.adaptive
    assert found.adaptive["calibration"]["facts"] == 4
    known = [fact for fact in table.index if table.at[fact, "template_hits"] == fixed.at[fact, "template_hits"]]
    assert len(set(known) & set(table.index[full])) >= 4
    again = probing.probe(facts, prober(loads=False))  # all is kept
    pd.testing.assert_frame_equal(again.table, found.table)
    assert again.sampled == 0


def test_without_a_margin_fewer_samples_are_enough(prober: Made, facts: pd.DataFrame) -> None:
    least, usual = (probing.probe(facts, made).table["trials"].sum() for made in (prober(margin=0.0), prober()))
    assert least < usual  # also where both are kept in one folder


def test_a_killed_probe_goes_on_to_the_same_bytes(
    prober: Made, facts: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = probing.probe(facts, prober("whole"))
    drawn, left, draw = 0, 3, completions.draw

    def dying(*args: object, **options: object) -> Iterator[SampledBatch]:
        nonlocal drawn
        for batch in draw(*args, **options):  # type: ignore[arg-type]
            drawn += 1
            if drawn > left:
                raise KeyboardInterrupt
            yield batch

    asked, ask = [], answer_probability.probabilities

    def once(probe: object, part: pd.DataFrame, *more: object) -> pd.DataFrame:
        asked.append(tuple(part["fact_id"]))
        return ask(probe, part, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(answer_probability, "probabilities", once)
    monkeypatch.setattr(completions, "draw", dying)
    sampled = 0
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            probing.probe(facts, prober())
        drawn = 0
    monkeypatch.setattr(completions, "draw", draw)
    found = probing.probe(facts, prober())
    sampled += found.sampled
    assert sampled < whole.sampled  # what was in journals was not sampled again
    pd.testing.assert_frame_equal(found.table, whole.table)
    assert found.adaptive == whole.adaptive
    # Another machine may find other last bits, and with them other rounds: the first one's probabilities are kept.
    assert len(set(asked)) == len(asked) > 0


def test_no_result_depends_on_who_samples_what(prober: Made, facts: pd.DataFrame) -> None:
    alone = probing.probe(facts, prober("alone"))
    second = probing.probe(facts, prober("both"), worker=probing.Worker(1, 2))
    pd.testing.assert_frame_equal(alone.table, second.table)


def test_without_facts_left_over_it_is_the_fixed_probe(prober: Made, facts: pd.DataFrame) -> None:
    table = probing.probe(facts, prober(calibration_facts=100)).table
    fixed = probing.probe(facts, prober(method="fixed")).table
    for name in ("hits", "trials", "mastery", "bucket", "template_hits"):
        assert table[name].tolist() == fixed[name].tolist(), name


def test_the_probability_at_once_bounds_the_rate_from_below(inputs: Path, facts: pd.DataFrame, prober: Made) -> None:
    settings = SETTINGS.model_copy(update={"samples": 400})
    made = prober()
    model, tokenizer = made.load()
    asked = completions.Probe(model, tokenizer, SENTENCES, settings)
    some = facts.head(6).reset_index(drop=True)
    least = answer_probability.probabilities(asked, some, settings.temperature)["template_probabilities"]
    hits = mastery_table.probe(replace(asked), some)["template_hits"]
    for low, count in zip(least, hits, strict=True):
        rate, low = np.array(count) / 400, np.array(low)
        assert (rate >= low - 4 * np.sqrt(low * (1 - low) / 400)).all()
    assert max(map(max, least)) > 0.002  # else nothing was tested


def test_the_program_writes_what_later_stages_read(inputs: Path, tmp_path: Path) -> None:
    out = tmp_path / "mastery.parquet"
    ok("mastery.py", *options(inputs, out, *ADAPTIVE, "--keep-texts"))
    table, summary = pd.read_parquet(out), read_json(out.with_suffix(".json"))
    assert summary["settings"]["method"] == "adaptive" and summary["calibration"]["facts"] == 4
    metrics = {row["metric"]: row["value"] for row in summary["metrics"]}
    full = sum(len(hits) * 4 for hits in table["template_hits"])
    assert metrics["trials_share"] == pytest.approx(table["trials"].sum() / full)
    two = tmp_path / "two" / "mastery.parquet"
    ok("mastery.py", *options(inputs, two, *ADAPTIVE, "--keep-texts", "--processes", 2, "--gpus", 0))
    assert sha256(two) == sha256(out)  # whoever samples what
    texts = pd.read_parquet(tmp_path / "mastery-texts.parquet")
    counts = texts.groupby("fact_id")["count"].sum()
    assert (table.set_index("fact_id")["trials"] == counts.reindex(table["fact_id"])).all()
    ends = table[[f"posterior_D{number}" for number in range(5)]].sum(axis=1)
    assert ends.to_numpy() == pytest.approx(1) and (table["low"] <= table["high"]).all()
    # A table that is imported keeps what it says, and its check shows the agreement with a full probe.
    ok("mastery.py", "--import", out, "--facts", inputs / "facts.parquet", "--out", tmp_path / "again.parquet")
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "again.parquet")[sorted(table)], table[sorted(table)], check_dtype=False
    )
    given = [
        "--model",
        inputs / "base",
        "--templates",
        inputs / "templates.yaml",
        "--samples",
        4,
        "--max-new-tokens",
        4,
    ]
    ok("mastery_quality.py", "--mastery", out, *given, "--retest", 5, "--out", tmp_path / "quality")
    names = {row["metric"] for row in read_json(tmp_path / "quality/summary.json")["metrics"]}
    assert {"retest_agreement", "expected_agreement", "posterior_facts"} <= names and "prior_zero" not in names


def test_a_fixed_probe_knows_nothing_of_it(inputs: Path, tmp_path: Path) -> None:
    assert not {"method", "calibration_facts"} & set(ProbingSettings().model_dump())
    assert {"method", "calibration_facts"} <= set(SETTINGS.model_dump())
    first, second = tmp_path / "one.parquet", tmp_path / "two.parquet"
    ok("mastery.py", *options(inputs, first))
    ok("mastery.py", *options(inputs, second, "--method", "fixed", "--calibration-facts", 9))
    assert sha256(first) == sha256(second)
    assert "template_trials" not in pd.read_parquet(first)
    write_parquet(tmp_path / "three.parquet", pd.read_parquet(first).assign(low="no number", posterior_D0="none"))
    table = ["--import", tmp_path / "three.parquet", "--facts", inputs / "facts.parquet"]
    ok("mastery.py", *table, "--out", tmp_path / "four.parquet")  # what a fixed table says besides hits is not read
    again = pd.read_parquet(tmp_path / "four.parquet")[list(pd.read_parquet(first))]
    pd.testing.assert_frame_equal(again, pd.read_parquet(first), check_dtype=False)
