"""Recipes: exact shares at every scale, drawn as buckets are, in an order, and what they say when they lack rows."""

import random
from collections import Counter
from fractions import Fraction
from itertools import islice

import pandas as pd
import pytest

from script_calls import ok, refused
from sftlens.config.stages.recipes import Recipe
from sftlens.config.stages.training import FinetuneSettings
from sftlens.data import recipes, training_sets
from sftlens.errors import ConfigError, TrainingError
from sftlens.training.step import batches

SIZES = {"P17": 30, "P19": 20, "P131": 25}
BUCKETS = ("D0", "D2", "D4")


@pytest.fixture
def facts() -> pd.DataFrame:
    rows = [
        (f"{split}/{relation}/{i:02d}{bucket}", split, relation, bucket, f"{relation} {bucket} {i}?", f"A{i}")
        for split in ("train", "test")
        for relation, size in SIZES.items()
        for bucket in BUCKETS
        for i in range(size)
    ]
    return pd.DataFrame(rows, columns=["fact_id", "split", "relation", "bucket", "question", "object"])


def made(facts: pd.DataFrame, parts: dict, seed: int = 0, said: pd.Series | None = None, **own: object) -> pd.DataFrame:
    recipe = Recipe.model_validate({"parts": parts, **own})
    return recipes.order(recipe, "mine", recipes.pools(recipe, "mine", facts, said), seed, "tiny")


NEW_RELATION = {
    "new": {"share": 20, "buckets": ["D0"], "relations": ["P131"]},
    "known": {"share": 80, "buckets": ["D2", "D4"], "except_relations": ["P131"]},
}


def test_no_prefix_of_any_shares_is_a_whole_row_away_from_them() -> None:
    draw = random.Random(0)
    for _ in range(100):
        shares = [
            draw.choice([draw.randint(1, 60), round(draw.random() * 10 + 0.01, 3)]) for _ in range(draw.randint(1, 6))
        ]
        exact = [Fraction(str(share)) for share in shares]
        had: Counter[int] = Counter()
        for n, part in enumerate(islice(recipes.turns(shares, [1000] * len(shares)), 200), start=1):
            had[part] += 1
            assert all(abs(had[i] - n * share / sum(exact)) < 1 for i, share in enumerate(exact)), shares


def test_every_scale_has_the_shares_and_a_relation_can_be_made_of_new_facts_only(facts: pd.DataFrame) -> None:
    order = made(facts, NEW_RELATION)
    assert len(order) == 5 * SIZES["P131"] and order["fact_id"].is_unique
    for n in (5, 20, 60, 125):
        drawn = training_sets.take(order, n)
        assert (drawn["part"] == "new").sum() == n / 5
        assert set(drawn.loc[drawn["relation"] == "P131", "bucket"]) == {"D0"}
        assert "D0" not in set(drawn.loc[drawn["relation"] != "P131", "bucket"])
    assert training_sets.name(order) == "mine"
    known = order.loc[order["part"] == "known", "relation"].tolist()
    assert known[:4] == ["P17", "P19"] * 2  # relations take turns within a part


def test_a_recipe_of_a_bucket_is_that_bucket_and_doses_share_their_facts(facts: pd.DataFrame) -> None:
    for buckets, train_set in ((["D2"], "D2"), (["D0", "D1", "D2", "D3", "D4"], "mixed")):
        found = made(facts, {"all": {"buckets": buckets}}, seed=3)
        assert found["fact_id"].tolist() == training_sets.order(facts, train_set, 3, "tiny")["fact_id"].tolist()

    def new(share: float) -> list[str]:
        parts = {"new": {"share": share, "buckets": ["D0"]}, "known": {"share": 100 - share, "buckets": ["D2", "D4"]}}
        drawn = training_sets.take(made(facts, parts), 60)
        return drawn.loc[drawn["bucket"] == "D0", "fact_id"].tolist()

    assert len(new(5)) == 3 and new(20)[:3] == new(5) and new(50)[:12] == new(20)
    assert made(facts, NEW_RELATION, seed=1)["fact_id"].tolist() != made(facts, NEW_RELATION)["fact_id"].tolist()


def test_parts_one_after_another_in_every_epoch(facts: pd.DataFrame) -> None:
    parts = {"new": {"share": 25, "buckets": ["D0"]}, "known": {"share": 75, "buckets": ["D4"]}}
    assert set(made(facts, parts)["phase"]) == {0}
    drawn = training_sets.take(made(facts, parts, order=["new", "known"]), 32)
    settings = FinetuneSettings(epochs=2, batch_size=8)
    plan = batches(32, settings, 0, drawn["phase"].tolist())
    buckets = [{drawn["bucket"].iloc[i] for i in batch} for batch in plan]
    assert buckets == [{"D0"}, {"D4"}, {"D4"}, {"D4"}] * 2
    assert sorted(i for batch in plan[:4] for i in batch) == list(range(32)) and plan[:4] != plan[4:]
    assert batches(32, settings, 0, [0] * 32) == batches(32, settings, 0)


def test_few_facts_several_times_in_as_many_steps(facts: pd.DataFrame) -> None:
    order = made(facts, {"few": {"buckets": ["D4"], "facts": 12, "repeat": 4}})
    assert len(order) == 48 and set(Counter(order["fact_id"]).values()) == {4}
    assert (
        order["fact_id"].head(12).tolist() == training_sets.order(facts, "D4", 0, "tiny")["fact_id"].head(12).tolist()
    )


def test_questions_of_ones_own_and_the_models_own_answers(facts: pd.DataFrame, tmp_path) -> None:
    pd.DataFrame({"question": [f"Who is {i}?" for i in range(9)], "answer": "Me"}).to_csv(
        tmp_path / "own.csv", index=False
    )
    parts = {"own": {"share": 50, "file": str(tmp_path / "own.csv")}, "known": {"share": 50, "buckets": ["D4"]}}
    order = made(facts, parts)
    assert len(order) == 19 and set(order["relation"]) == {"own", "P17", "P19", "P131"} and "bucket" not in order

    train = facts[facts["split"] == "train"]
    ids = train.loc[train["bucket"] == "D4", "fact_id"].tolist()[:3]
    drawn = [(ids[0], 0, " nowhere", 9), (ids[0], 1, " the fair A0", 3), (ids[1], 0, " A1", 1), (ids[2], 0, " none", 5)]
    texts = pd.DataFrame(drawn, columns=["fact_id", "template", "text", "count"])
    said = recipes.own_answers(train, texts).set_index("fact_id")["text"].str.strip()
    own = made(facts, {"said": {"buckets": ["D4"], "answers": "own"}}, said=said)
    assert dict(zip(own["fact_id"], own["object"], strict=True)) == {ids[0]: "the fair A0", ids[1]: "A1"}
    with pytest.raises(ConfigError, match="option --texts: is missing"):
        made(facts, {"said": {"answers": "own"}})


def test_a_recipe_that_cannot_be_filled_says_what_is_missing_and_what_is_there(facts: pd.DataFrame) -> None:
    with pytest.raises(
        TrainingError, match=r"recipe mine: the scale 240 needs .*; 48 rows of part 'new', which has 25; lower "
    ):
        training_sets.take(made(facts, NEW_RELATION), 240)
    assert len(training_sets.take(made(facts, NEW_RELATION), 240, allow_smaller=True)) == 125
    with pytest.raises(TrainingError, match=r"part 'x' \(100 % D1\) has no row \(D0 75, D1 0, D2 75, D3 0, D4 75\)"):
        made(facts, {"x": {"buckets": ["D1"]}})
    with pytest.raises(
        TrainingError, match=r"wants 26 different rows, and there are 25 \(D0 25, .*recipes.mine.parts.x"
    ):
        made(facts, {"x": {"buckets": ["D0"], "relations": ["P131"], "facts": 26}})
    with pytest.raises(ConfigError, match=r"no train fact of relation 'P18'; correct .* \(there are: P131, P17, P19\)"):
        made(facts, {"x": {"relations": ["P18"]}})


def test_by_hand_from_a_configuration_and_from_json(facts: pd.DataFrame, tmp_path) -> None:
    facts.to_parquet(tmp_path / "m.parquet")
    (tmp_path / "study.yaml").write_text("recipes:\n  few: {parts: {x: {buckets: [D4], facts: 6}}}\n")
    given = ["--mastery", tmp_path / "m.parquet", "--model-name", "tiny", "--train-set", "few"]
    ok("training_set.py", *given, "--recipe", tmp_path / "study.yaml", "--out", tmp_path / "a.parquet")
    text = '{"parts": {"x": {"buckets": ["D4"], "facts": 6}}}'
    ok("training_set.py", *given, "--recipe", text, "--out", tmp_path / "b.parquet")
    one, other = (pd.read_parquet(tmp_path / name) for name in ("a.parquet", "b.parquet"))
    assert one.equals(other) and len(one) == 6 and set(one["recipe"]) == {"few"} and "split" not in one
    wrong = ["--mastery", tmp_path / "m.parquet", "--model-name", "tiny", "--out", tmp_path / "c", "--train-set", "fw"]
    assert "no recipe 'fw'; did you mean 'few'" in refused(
        "training_set.py", *wrong, "--recipe", tmp_path / "study.yaml"
    )
    assert "key 'parts': " in refused("training_set.py", *wrong, "--recipe", '{"parts": {}}')
    (tmp_path / "none.yaml").write_text("a: 1\n")
    assert "has no key `recipes`" in refused("training_set.py", *wrong, "--recipe", tmp_path / "none.yaml")
    assert "give one of them" in refused("training_set.py", "--model-name", "t", "--train-set", "D0", "--out", "o")


def test_passes_are_trained_one_after_another_and_may_not_stand_beside_an_order(facts: pd.DataFrame) -> None:
    parts = {"any": {"facts": 24, "repeat": 3}}
    order = made(facts, parts, by_pass=True)
    assert order["phase"].tolist() == [0] * 24 + [1] * 24 + [2] * 24
    # As many steps as one epoch of 72 different facts has, and each fact once in every third of them.
    plan = batches(72, FinetuneSettings(batch_size=8), 0, order["phase"].tolist())
    ids = [[order["fact_id"][i] for i in batch] for batch in plan]
    assert len(ids) == 9 and all(len({*ids[i], *ids[i + 1], *ids[i + 2]}) == 24 for i in (0, 3, 6))
    assert set(order["fact_id"]) == set(made(facts, {"any": {}})["fact_id"].head(24))
    plain = made(facts, parts)
    assert plain["phase"].eq(0).all() and plain.drop(columns="phase").equals(order.drop(columns="phase"))
    # A recipe that does not say so has the key of its results that it had before there was a choice.
    assert set(Recipe.model_validate({"parts": parts}).model_dump()) == {"parts", "order"}
    assert Recipe.model_validate({"parts": parts, "by_pass": True}).model_dump()["by_pass"]
    with pytest.raises(ValueError, match="`order` and `by_pass` exclude each other"):
        Recipe.model_validate({"parts": parts, "order": ["any"], "by_pass": True})
