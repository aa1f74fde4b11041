"""The configuration of a study is strict: what is refused, and the words that say so."""

import pytest
from transformers import LlamaConfig

from demo_study import DEMO, changed
from sftlens.config import loading
from sftlens.config.stages.model import Geometry
from sftlens.errors import ConfigError


@pytest.fixture(autouse=True)
def no_data(monkeypatch):
    monkeypatch.delenv("ENTITY_QUESTIONS_DIR", raising=False)


def refusal(**changes: object) -> str:
    with pytest.raises(ConfigError) as caught:
        loading.load(changed(DEMO, **changes), "my.yaml")
    message = str(caught.value)
    assert message.startswith("my.yaml: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("modles", "models"),
        ("finetuning.learning_rat", "learning_rate"),
        ("models.tiny.geometry.layer", "layers"),
        ("models.path.pretraining.epoch", "epochs"),
        ("models.tiny.launch.process", "processes"),
        ("facts.sample.tests", "test"),
        ("experiments.scaling.scale", "scales"),
        ("experiments.restorations", "restoration"),
    ],
)
def test_misspelt_key_names_the_nearest_one(key, nearest):
    message = refusal(**{key.replace(".", "__"): 1})
    assert f"unknown key '{key}'" in message
    assert f"did you mean {nearest!r}?" in message


def test_misspelt_key_is_named_even_where_the_right_one_is_required():
    geometry = {**DEMO["models"]["tiny"]["geometry"]}
    geometry["layer"] = geometry.pop("layers")
    assert "did you mean 'layers'?" in refusal(models__tiny__geometry=geometry)


def test_key_like_no_other_lists_the_known_ones():
    assert "known keys here: samples, temperature" in refusal(probing__qqq=1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"finetuning__epochs": "three"}, ["'finetuning.epochs'", "'three'", "valid integer"]),
        ({"finetuning__learning_rate": -1}, ["'finetuning.learning_rate'", "greater than 0"]),
        ({"finetuning__learning_rate": float("inf")}, ["'finetuning.learning_rate'", "finite number"]),
        ({"finetuning__learning_rate": float("nan")}, ["'finetuning.learning_rate'", "finite number"]),
        ({"models__path": {"source": "path", "path": "x" * 5000}}, ["File name too long; choose a shorter name"]),
        ({"templates": "my {own}/templates.yaml"}, ["'templates'", "has braces", "give a link to it"]),
        ({"models__tiny__mastery": "{x}.parquet"}, ["'models.tiny.mastery'", "has braces"]),
        ({"finetuning__epochs": True}, ["'finetuning.epochs'", "a truth value (true, yes, on, ...) is no value here"]),
        ({"scales": [True]}, ["'scales'", "a truth value"]),
        ({"study": False}, ["'study'", "a truth value"]),
        ({"probing__seed": -1}, ["'probing.seed'", "greater than or equal to 0"]),
        ({"probing__seed": 10**30}, ["'probing.seed'"]),
        ({"finetuning__dtype": "fp16"}, ["'finetuning.dtype'", "'bfloat16' or 'float32'"]),
        ({"finetuning": [1]}, ["'finetuning'", "dictionary"]),
        ({"study": 7}, ["'study'", "string"]),
        ({"probing__samples": 10**17}, ["'probing.samples'", "at most 1,000,000,000,000"]),
        ({"experiments__scaling__scales": 60}, ["'experiments.scaling.scales'", "list"]),
        ({"experiments__scaling__scales": ["alll"]}, ["scales.0'", "'alll'", "integer", "or", "'all'"]),
        (
            {"experiments__scaling__train_sets": ["D5"]},
            ["experiments.scaling.train_sets", "'D5'; did you mean 'D4'", "mixed"],
        ),
        ({"experiments__scaling__seeds": [-1]}, ["seeds.0'", "greater than or equal to 0"]),
        ({"experiments__restoration__criteria": ["relativ"]}, ["criteria.0'", "'relative'"]),
        ({"experiments": None}, ["'experiments'", "None"]),
        ({"models__tiny__geometry": {"layers": 2}}, ["'models.tiny.geometry.hidden_size' is missing"]),
    ],
)
def test_wrong_type_names_the_key_and_the_value(changes, words):
    message = refusal(**changes)
    assert [word for word in words if word not in message] == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"finetuning__dtype": "bfloat16"}, ["bfloat16 needs zero_stage 1", "dtype: float32"]),
        ({"finetuning__micro_batch_size": 16}, ["micro_batch_size 16", "batch_size 8"]),
        ({"finetuning__offload": "optimizer"}, ["'finetuning'", "needs zero_stage 1", "offload: none"]),
        (
            {"finetuning__offload": "parameters", "finetuning__zero_stage": 2},
            ["'finetuning'", "needs zero_stage 3 (it is 2", "offload: optimizer"],
        ),
        ({"models__tiny__path": "models/mine"}, ["models.tiny", "takes no `path`"]),
        ({"models__tiny__source": "path"}, ["models.tiny", "needs `path`"]),
        ({"models__tiny__source": "hub", "models__tiny__path": "a/b"}, ["models.tiny", "needs `revision`"]),
        ({"models": {}}, ["at least one model"]),
        ({"models__a b": DEMO["models"]["tiny"]}, ["'a b'", "letters, digits"]),
        ({"models__figures": DEMO["models"]["tiny"]}, ["'figures'", "taken"]),
        ({"study": "models"}, ["'study'", "taken"]),
        ({"study": "facts"}, ["'study'", "taken"]),
        ({"study": "../elsewhere"}, ["'study'", "letters, digits"]),
        ({"experiments__scaling__models": ["big"]}, ["experiments.scaling.models", "'big'", "tiny"]),
        ({"experiments__scaling__scales": [0]}, ["positive number"]),
        ({"experiments__scaling__scales": [60, 240, 60]}, ["60 stands there twice"]),
        ({"experiments__scaling__scales": ["60", 60]}, ["60 stands there twice"]),
        ({"experiments__divergence__seeds": [1, 1]}, ["1 stands there twice"]),
        ({"experiments__restoration__ratios": [0]}, ["above 0 and at most 100"]),
        ({"experiments__restoration__ratios": [101]}, ["above 0 and at most 100"]),
        ({"experiments__restoration__ratios": [20, 20.0]}, ["20.0 stands there twice"]),
        ({"experiments__restoration__regions": ["head"]}, ["'head'", "transformer, attention, mlp"]),
        ({"experiments__restoration__regions": ["layers1-0"]}, ["'layers1-0' is empty"]),
        ({"experiments__concentration__regions": ["layers0-2"]}, ["'layers0-2' is beyond 'tiny'", "is 1"]),
    ],
)
def test_contradicting_settings_are_refused(changes, words):
    message = refusal(**changes)
    assert [word for word in words if word not in message] == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("study: [", ["not valid YAML"]),
        ("- a\n- b\n", ["no mapping"]),
        ("study: a\nstudy: b\n", ["repeated key 'study'"]),
        ("finetuning: {epoch: 1}\n", ["did you mean 'epochs'?"]),
    ],
)
def test_unreadable_configuration_names_the_file(tmp_path, text, words):
    path = tmp_path / "my.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        loading.load_file(path)
    assert [word for word in [str(path), *words] if word not in str(caught.value)] == []


def test_missing_configuration_names_the_file(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml.*correct the path"):
        loading.load_file(tmp_path / "none.yaml")


def test_names_of_an_earlier_version_are_accepted_and_named_anew(capsys: pytest.CaptureFixture[str]) -> None:
    old = {"restoration": {"orders": ["relative", "shrink"]}, "concentration": {"orders": ["absolute"]}}
    study = loading.load({**DEMO, "experiments": old}, "old.yaml")
    assert study.experiments.restoration and study.experiments.restoration.criteria == ["relative", "interpolation"]
    assert study.experiments.concentration and study.experiments.concentration.criteria == ["absolute"]
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "notice: old.yaml: key 'experiments.restoration.orders' is now called 'criteria'; rename it",
        "notice: old.yaml: key 'experiments.concentration.orders' is now called 'criteria'; rename it",
        "notice: old.yaml: 'experiments.restoration.criteria': 'shrink' is now called 'interpolation'; rename it",
    ]
    study = loading.load({**DEMO, "repair": {"region": "mlp", "orders": ["shrink"]}})
    assert study.repair and (study.repair.regions, study.repair.criteria) == (["mlp"], ["interpolation"])
    assert "key 'repair.region' is now called 'regions'; rename it" in capsys.readouterr().err
    assert old["concentration"] == {"orders": ["absolute"]}
    with pytest.raises(ConfigError, match="both are there; take 'orders' out"):
        loading.load({**DEMO, "experiments": {"restoration": {"orders": [], "criteria": []}}})


def described(folder, **changes):
    """Return a configuration's entry for a model whose folder holds a config.json."""
    config = LlamaConfig(num_hidden_layers=3, hidden_size=64, num_attention_heads=4, vocab_size=300, **changes)
    config.save_pretrained(folder)
    return {"source": "path", "path": str(folder)}


def test_geometry_is_read_where_config_json_is_there(tmp_path):
    study = loading.load(changed(DEMO, models={"mine": described(tmp_path, head_dim=32)}))
    assert study.models["mine"].shape == Geometry(
        layers=3, hidden_size=64, intermediate_size=11008, heads=4, kv_heads=4, vocab_size=300, head_dim=32
    )


def test_geometry_of_a_fetched_model_is_read_in_the_hubs_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    commit = "0" * 40
    described(tmp_path / "models--org--name" / "snapshots" / commit)
    entry = {"source": "hub", "path": "org/name", "revision": commit}
    assert loading.load(changed(DEMO, models={"mine": entry})).models["mine"].shape.layers == 3
    (tmp_path / "models--org--name/refs").mkdir()
    (tmp_path / "models--org--name/refs/main").write_text(commit)
    branch = entry | {"revision": "main"}
    assert loading.load(changed(DEMO, models={"mine": branch})).models["mine"].shape.layers == 3
    assert "models.mine'" in (said := refusal(models={"mine": entry | {"revision": "1" * 40}}))
    assert "key 'geometry' is needed" in said and "config.json is not there" in said


def test_a_geometry_that_config_json_contradicts_is_refused(tmp_path):
    entry = described(tmp_path) | {"geometry": DEMO["models"]["tiny"]["geometry"]}
    assert f"geometry.layers is 2, but {tmp_path}/config.json says 3" in refusal(models={"mine": entry})
    for text in ("{", "[]", '{"num_hidden_layers": "x"}', "[" * 100_000):
        (tmp_path / "config.json").write_text(text)
        assert f"{tmp_path}/config.json: " in refusal(models={"mine": entry})


def test_a_model_made_here_needs_its_geometry():
    assert "needs its `geometry`" in refusal(models={"tiny": {"source": "pretrain"}})


def test_scales_and_seeds_can_stand_once_for_all_experiments():
    given = {
        "scaling": {},
        "restoration": {"scales": [480], "ratios": [5]},
        "mastery": {},
        "divergence": {"seeds": [7]},
    }
    study = loading.load({**DEMO, "scales": [60, "all"], "seeds": [0, 3], "experiments": given}, "my.yaml")
    scaling, restoration, divergence = (
        getattr(study.experiments, name) for name in ("scaling", "restoration", "divergence")
    )
    assert (scaling.scales, scaling.seeds) == ([60, "all"], [0, 3])
    assert (restoration.scales, restoration.seeds) == ([480], [0, 3])
    assert (divergence.scales, divergence.seeds) == ([60, "all"], [7])
    assert loading.load(study.model_dump(mode="json")) == study  # as collect reads it back
    assert "key 'seeds': 3 stands there twice" in refusal(seeds=[3, 3], experiments={"scaling": {}})
    assert "did you mean 'scales'?" in refusal(scale=[3])
