"""The experiments on restoring, overlap, updates, falsehoods, a skill and size: their rows, against numbers by hand."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import fake_answers
from repository import ROOT
from sftlens.changes import change_cosines
from sftlens.config.study import Study
from sftlens.dag.contrasts import Condition
from sftlens.dag.jobs import Jobs
from sftlens.dag.paths import Paths
from sftlens.dag.targets import TARGETS, wanted
from sftlens.doubts import DOUBTS, geometry, sentence, shared
from sftlens.errors import ConfigError
from sftlens.files import write_json, write_parquet
from sftlens.results import collect
from sftlens.results.answers import Answers
from sftlens.statistics import crossed


def answers(study: Study, name: str) -> Answers:
    asked = wanted(study)[name]
    return Answers(study, asked, collect.collect(study, asked)[0])


def test_the_null_controls_are_compared_with_restoration_at_each_ratio(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    study = fake_answers.study(experiments={"nulls": {"train_sets": ["D0"], "ratios": [60, 5], "scales": [240]}})
    fake_answers.make(study)
    found = answers(study, "nulls")
    table = collect.numbers(TARGETS.get("nulls"), found)
    first = table.iloc[0]
    assert (first["Quantity"], first["Series"], first["X"]) == (
        "ID test: relative minus a control (points), by k (%)", "equal-size", "60"
    )  # fmt: skip
    y, other = (
        np.stack(
            list(found.contains(Condition("one", "D0", "240", "full", kind, "transformer", 60.0), "test").values())
        )
        for kind in ("relative", "equal-size")
    )
    buckets = found.questions("one", "test").buckets
    assert first["Estimate"] == pytest.approx(crossed.accuracy(100.0 * (y.astype(float) - other), buckets).value)
    # In these answers restoring 60 % by `relative` gives back more than anything else does.
    assert "Accuracy on ID test is higher after restoring 60 % by `relative` than" in sentence(
        DOUBTS.get("nulls"), first
    )
    assert set(table["Series"]) == {
        "relative", "equal-size", "sign-flip", "deletion", "random", "redrawn", "interpolation"
    }  # fmt: skip
    curve = table[(table["Quantity"] == "OOD test: Accuracy (%), by k (%)") & (table["Series"] == "deletion")]
    assert list(curve["X"]) == ["0", "5", "60"]
    panel = TARGETS.get("nulls").draw(table, "").axes[0]  # the ratios are 60 and 5, and stand by their size
    assert [label.get_text() for label in panel.get_xticklabels()] == ["5", "60"]
    assert all(list(line.get_xdata()) == sorted(line.get_xdata()) for line in panel.get_lines())


def facts(subjects: list[str], objects: list[str], relations: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"subject": subjects, "object": objects, "relation": relations})


def test_a_fact_is_of_the_most_specific_group_that_holds() -> None:
    trained = facts(["Ada Loren", "The Silent River"], ["Port Vale", "Oslo"], ["P19", "P50"])
    asked = facts(
        ["Ben LOREN", "Ada Kesta", "Quiet River", "Mira Voss", "Mira Voss", "Mira Voss"],
        ["Torburg", "port vale", "Oslo", "oslo", "Torburg", "Torburg"],
        ["P19", "P26", "P50", "P26", "P50", "P26"],
    )
    found = [shared.GROUPS[i] for i in shared.groups(asked, trained)]
    # "Ada" has three letters and is no word that counts.
    assert found == ["subject word", "object", "subject word", "object", "relation", "nothing"]
    less = [shared.GROUPS[i] for i in shared.groups(asked, trained, frozenset({"river", "loren"}))]
    assert less == ["relation", "object", "object", "object", "relation", "nothing"]
    assert len(shared.groups(asked.head(0), trained)) == 0
    assert shared.common_words(pd.Series([f"Mount N{i:04}" for i in range(300)])) == {"mount"}


def test_values_of_members_have_the_mean_and_spread_of_their_own_questions() -> None:
    d = np.array([[1.0, 2, 3, 10], [4, 5, 6, 20], [0, 3, 3, 30]])
    inside = np.array([[1, 1, 1, 0], [0, 1, 1, 0], [1, 1, 0, 0]], dtype=bool)
    found = crossed.members(d, inside)
    np.testing.assert_allclose(found.mean(axis=1), [2, 5.5, 1.5])
    np.testing.assert_allclose(crossed.members(d, np.ones_like(inside)), d)
    one = crossed.mean(crossed.members(d[:1], inside[:1]))
    # SE^2 of a mean of three: sum of squared deviations / 9, but for the factor (Q - 1) / Q of the questions' variance.
    assert one.se == pytest.approx(np.sqrt(2 / 9 * 4 / 3))
    assert np.isnan(crossed.mean(crossed.members(d, np.zeros_like(inside))).value)


@pytest.mark.parametrize("scales", [[60, 240], [240]])
def test_changes_by_what_facts_share_with_the_training_set_of_each_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scales: list[int]
) -> None:
    monkeypatch.chdir(tmp_path)
    study = fake_answers.study(experiments={"shared": {"train_sets": ["D0", "D4"], "scales": scales}})
    fake_answers.make(study)
    paths = Paths(study)
    mastery = Path(paths.mastery("one"))
    table = pd.read_parquet(mastery)
    number = table.groupby("split").cumcount()
    table = table.assign(subject=[f"Person{i % 150:03} Ab" for i in number], object=[f"Town{i % 7}" for i in number])
    table.loc[table["split"] != "train", "object"] = [f"Town{i % 40}" for i in number[table["split"] != "train"]]
    write_parquet(mastery, table)
    train = table[table["split"] == "train"]
    for train_set in ("D0", "D4"):
        for seed in (0, 1, 2):
            rows = train[train["bucket"] == train_set].sample(frac=1, random_state=seed)
            write_parquet(Path(paths.root) / f"one/{train_set}/order-seed{seed}.parquet", rows)
    found = answers(study, "shared")
    rows = collect.numbers(TARGETS.get("shared"), found)
    start = scales[0] if len(scales) > 1 else 0
    first = rows.iloc[0]
    quantity = f"Change from n = {start} to 240 (points)"
    assert first["Quantity"] == f"{quantity}: shared minus neither" and first["Series"] == "ID test, D0"
    later = found.contains(Condition("one", "D0", "240", "full"), "test")
    before = (
        found.contains(Condition("one", "D0", "60", "full"), "test") if start
        else dict.fromkeys(range(3), found.contains(Condition("one", "base", "0", "base"), "test")[0])
    )  # fmt: skip
    asked = table.set_index("fact_id").loc[found.questions("one", "test").fact_ids]
    means = []
    for seed in (0, 1, 2):
        own = train.set_index("fact_id").loc[
            pd.read_parquet(Path(paths.root) / f"one/D0/order-seed{seed}.parquet")["fact_id"].head(240)
        ]
        more = asked["subject"].isin(own["subject"]) | asked["object"].isin(own["object"])
        d = 100.0 * (later[seed].astype(float) - before[seed])
        means.append(d[more].mean() - d[~more].mean())
    assert first["Estimate"] == pytest.approx(np.mean(means))
    assert first["Low"] < first["Estimate"] < first["High"]
    assert set(rows[rows["Quantity"] == f"{quantity}, by what is shared"]["X"]) == {"subject word", "object", "nothing"}


def test_updates_side_by_side_by_training_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    study = fake_answers.study(experiments={"geometry": {"train_sets": ["D0", "D4"]}})
    fake_answers.make(study)
    root, vectors = Path(Paths(study).root), np.random.default_rng(0).normal(size=(13, 40)) + 0.1
    jobs = Jobs(study)
    places = jobs.compare_changes_inputs(SimpleNamespace(model="one"))["finetuned"]
    assert len(places) == 12 and f"{root}/one/D4/n240/seed2/full/checkpoint" in places
    inner = vectors @ vectors.T
    made = change_cosines.Products(inner, 0.1 * inner, np.full((13, 13), 2.0), np.full((13, 13), 3.0))
    write_parquet(root / "one/compare_changes/cosines.parquet", change_cosines.table(made, [*places, "gradient"], 12))
    table = collect.numbers(TARGETS.get("geometry"), answers(study, "geometry"))
    own = {name: [vectors[places.index(f"{root}/one/{name}/n240/seed{seed}/full/checkpoint")] for seed in range(3)]
           for name in ("D0", "D4")}  # fmt: skip
    effect = {name: np.array([v @ vectors[12] for v in found]) for name, found in own.items()}
    first, difference = table.iloc[0], effect["D0"] - effect["D4"]
    assert first["Estimate"] == pytest.approx(difference.mean())
    half = 4.302653 * difference.std(ddof=1) / 3**0.5  # Student's t with two degrees of freedom
    assert (first["Low"], first["High"]) == pytest.approx((difference.mean() - half, difference.mean() + half))
    assert "nats per answer token (" in sentence(DOUBTS.get("geometry"), first)

    def at(quantity: str, series: str, x: str) -> pd.Series:
        found = table[(table["Quantity"] == quantity) & (table["Series"] == series) & (table["X"] == x)]
        return found.iloc[0][["Estimate", "Low", "High"]].astype(float)

    assert at(geometry.NORM, "update", "D0")["Estimate"] == pytest.approx(np.mean([*map(np.linalg.norm, own["D0"])]))
    null = at(geometry.EFFECT, geometry.PERMUTED, "D0")
    assert list(null) == pytest.approx([0.1 * effect["D0"].mean() + shift for shift in (0, -4, 4)])
    assert list(at(geometry.EFFECT, geometry.RANDOM, "D4")) == pytest.approx([0, -6, 6])
    cosine = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for i, a in enumerate(own["D0"])
              for j, b in enumerate(own["D4"]) if i != j]  # fmt: skip
    for pair in (("D0", "D4"), ("D4", "D0")):
        assert at(geometry.BETWEEN, *pair)["Estimate"] == pytest.approx(np.mean(cosine))
    assert at(geometry.BETWEEN, "D0", "D0")["Estimate"] != pytest.approx(1)  # a model is not compared with itself


def test_true_and_false_facts_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = {"source": "pretrain", "geometry": fake_answers.GEOMETRY, "pretraining": {"flawed": 20}}
    axes = {"train_sets": ["D0"], "ratios": [60, 20]}
    with pytest.raises(
        ConfigError, match=r"flawed: not on 'one': what an existing model was taught falsely is not known"
    ):
        fake_answers.study(experiments={"flawed": axes})
    with pytest.raises(ConfigError, match=r"probed for once, .* set evaluation\.reprobe to 0"):
        fake_answers.study(models={"one": model}, experiments={"flawed": axes})
    axes["regions"] = ["transformer", "mlp"]  # the first is shown
    study = fake_answers.study(models={"one": model}, experiments={"flawed": axes}, evaluation={"reprobe": 0})
    fake_answers.make(study)
    paths = Paths(study)
    mastery = Path(paths.mastery("one"))
    table = pd.read_parquet(mastery)
    write_parquet(mastery, table.assign(question=table["fact_id"]))
    false = table[table.index % 3 == 0].assign(question=table["fact_id"], object="x", taught="zz")
    write_parquet(Path(paths.base_folder("one")) / "flawed.parquet", false[["question", "object", "taught"]])
    kl = table[(table["split"] == "test") & (table["bucket"] == "D4")].head(9)
    for product in wanted(study)["flawed"]:
        if product.stage in ("evaluate", "restore"):
            path = Path(paths.summary(product)).with_name("answers.parquet")
            said = pd.read_parquet(path)
            # A false fact is answered as taught, or with what is true, which counts elsewhere; of those that were
            # trained on every other one as taught alone.
            contains, own = said["contains"], said["fact_id"].isin(false["fact_id"])
            untrue = said["split"].eq("train") & (said.index % 2 == 0)
            output = np.where(untrue, "zz", np.where(contains, "x zz", "x"))
            write_parquet(path, said.assign(output=output, contains=contains | own))
        if product.stage == "divergence":
            value = kl.index % 3 == 0
            write_parquet(Path(paths.summary(product)).with_name("kl.parquet"), kl.assign(kl=2.0 + value))
    found = answers(study, "flawed")
    rows = collect.numbers(TARGETS.get("flawed"), found)
    first = rows.iloc[0]
    assert (first["Series"], first["X"]) == ("ID test, D0", "60")
    wrong = np.isin(found.questions("one", "test").fact_ids, false["fact_id"])
    fake_answers.make(study)  # the answers as they were
    as_taught = answers(study, "flawed")
    restored, tuned = (
        np.stack([*as_taught.contains(Condition("one", "D0", "240", "full", *place), "test").values()]).astype(float)
        for place in (("relative", "transformer", 60.0), ())
    )
    d = 100 * (restored - tuned)
    assert first["Estimate"] == pytest.approx((d[:, ~wrong].mean(axis=1) - d[:, wrong].mean(axis=1)).mean())

    def curve(quantity: str, series: str) -> dict[str, float]:
        part = rows[(rows["Quantity"] == quantity) & (rows["Series"] == series)]
        return dict(zip(part["X"], part["Estimate"], strict=True))

    right = curve("ID test: answered as taught (%), D0", "stated falsely")
    assert list(right) == ["n = 0", "n = 60", "n = 240", "k = 20 %", "k = 60 %"]
    assert right["n = 240"] == pytest.approx(100 * tuned[:, wrong].mean())
    divergences = curve("KL (nats), D4 test facts, D0", "stated falsely")
    assert divergences == dict.fromkeys(("n = 0", "n = 60", "n = 240"), 3.0)
    assert set(curve("KL (nats), D4 test facts, D0", "stated truly").values()) == {2.0}
    # "x" is the true object of every false fact.
    corrected = curve("Answered truly (%), D0", "training facts that were stated falsely")
    assert corrected == dict.fromkeys(("n = 60", "n = 240", "k = 20 %", "k = 60 %"), 50.0)


def test_what_restoring_changes_in_facts_and_in_a_skill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    files = {name: str(ROOT / f"config/reversal-{name}.jsonl") for name in ("train", "test")}
    axes = {"ratios": [20, 5], "regions": ["transformer", "mlp"], "strategies": ["full", "lora"]}  # the first are shown
    study = fake_answers.study(tasks={"reversal": files}, experiments={"skill": axes})
    fake_answers.make(study)
    for product in wanted(study)["skill"]:
        if product.stage in ("evaluate", "restore"):
            k, seed = product.ratio or 0, product.cell.seed
            facts, skill = 0.3 + 0.001 * k * (1 + seed), 0.9 - 0.01 * k
            if product.region == "mlp" or product.cell.strategy == "lora":
                facts, skill = 0.0, 0.0
            rows = [
                {"split": split, "bucket": "macro", "metric": "contains", "value": facts}
                for split in ("test", "testood")
            ]
            rows += [{"split": "test", "bucket": "macro", "metric": "contains", "relation": "P17", "value": 0.0}]
            rows += [{"split": "reversal", "bucket": "all", "metric": "words_in_place", "value": skill}]
            write_json(Path(Paths(study).summary(product)), {"metrics": rows})
    table = collect.numbers(TARGETS.get("skill"), answers(study, "skill"))
    first = table.iloc[0]
    gains = [100 * (0.001 * 20 * (1 + seed) + 0.01 * 20) for seed in range(3)]
    assert (first["Series"], first["X"]) == ("facts, ID test, reversal", "20")
    assert first["Estimate"] == pytest.approx(np.mean(gains)) and first["Low"] > 0
    assert "The change by restoring 20 % is higher in facts on ID test than in the skill" in sentence(
        DOUBTS.get("skill"), first
    )
    change = table[table["Quantity"] == "Restoring k % changes (points), by k"]
    skill = change[change["Series"] == "skill, reversal"]
    assert dict(zip(skill["X"], skill["Estimate"], strict=True)) == pytest.approx({"5": -5.0, "20": -20.0})
    by_n = table[(table["Quantity"] == "Score (%), by n") & (table["Series"] == "skill, reversal")]
    assert list(by_n["X"]) == ["0", "60", "240"] and by_n["Estimate"].to_list() == pytest.approx([90.0] * 3)


def test_models_of_several_sizes_by_facts_per_parameter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    wide = {**fake_answers.GEOMETRY, "hidden_size": 16}
    models = {name: {"source": "pretrain", "geometry": shape} for name, shape in
              (("large", wide), ("small", fake_answers.GEOMETRY))}  # fmt: skip
    study = fake_answers.study(models=models, experiments={"capacity": {"train_sets": ["D0"], "ratios": [20]}})
    fake_answers.make(study)
    paths = Paths(study)
    write_parquet(Path(paths.world) / "exposures.parquet", pd.DataFrame({"exposure": [0, 1, 5] * 100}))
    found = answers(study, "capacity")
    table = collect.numbers(TARGETS.get("capacity"), found)
    first = table.iloc[0]
    assert first["Model"] == "small, large" and first["Quantity"].endswith("smallest minus largest")

    def change(model: str) -> np.ndarray:
        after, before = (found.contains(Condition(model, "D0", n, "full"), "test") for n in ("240", "60"))
        return np.stack([100.0 * (after[seed].astype(float) - before[seed]) for seed in range(3)])

    assert first["Estimate"] == pytest.approx((change("small") - change("large")).mean())
    by_size = table[table["Quantity"].str.startswith("Restoring 20 % adds")]
    assert list(by_size[by_size["Series"] == "ID test, D0"]["X"]) == ["small", "large"]
    sizes = [1000 * 200 / study.models[name].shape.parameters for name in ("small", "large")]
    assert table[table["Quantity"] == "Facts per 1,000 parameters"]["Estimate"].tolist() == pytest.approx(sizes)
    with pytest.raises(ConfigError, match=r"capacity: not on 'one': how many facts an existing model was taught"):
        fake_answers.study(experiments={"capacity": {"train_sets": ["D0"]}})
