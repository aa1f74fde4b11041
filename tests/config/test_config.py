"""The shipped configurations load, and what describes the keys is in step with the model of a study."""

import itertools
import json
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

from dry_runs import planned
from repository import ROOT
from sftlens.commands import options
from sftlens.config import documentation, loading
from sftlens.config.study import OWN_TABLE, SAMPLED, SYNTHETIC
from sftlens.doubts import DOUBTS

CONFIG = ROOT / "config"
STUDIES = (
    "config", "all-keys", "own-model", "own-facts", "entityquestions-tiny", "paper", "smollm2", "strategies", "doubts",
    "doubts-parents",
)  # fmt: skip
DEMO = loading.load_file(CONFIG / "config.yaml")


@pytest.mark.parametrize("name", documentation.documents(DEMO))
def test_generated_file_is_in_step_with_the_settings(name):
    text = documentation.documents(DEMO)[name]
    assert (CONFIG / name).read_text(encoding="utf-8") == text, "run `python scripts/config_docs.py`"


def test_all_keys_is_the_demo():
    assert loading.load_file(CONFIG / "all-keys.yaml") == DEMO


def test_all_keys_loads_with_what_it_shows_as_comments():
    lines = (CONFIG / "all-keys.yaml").read_text(encoding="utf-8").splitlines()
    start = lines.index("  blocks: null")
    end = lines.index("  #   size: 4", start) + 1
    shown = [line.replace("# ", "", 1) for line in lines[start + 1 : end]]
    study = loading.load(yaml.safe_load("\n".join(lines[:start] + shown)))
    assert study.experiments.blocks.size == 4


@pytest.mark.parametrize("doubt", list(DOUBTS), ids=lambda doubt: doubt.name)
def test_all_keys_shows_what_an_experiment_has_where_nothing_is_set(doubt):
    lines = (CONFIG / "all-keys.yaml").read_text(encoding="utf-8").splitlines()
    start = lines.index(f"  {doubt.name}: null") + 1
    commented = itertools.takewhile(re.compile("  # ( |[a-z])").match, lines[start:])
    shown = [line.replace("# ", "", 1) for line in commented]
    assert doubt.settings.model_validate(yaml.safe_load("\n".join(shown))[doubt.name]) == doubt.settings()


@pytest.mark.parametrize("name", STUDIES)
def test_shipped_study_loads_and_satisfies_the_schema(name, monkeypatch):
    monkeypatch.delenv("ENTITY_QUESTIONS_DIR", raising=False)
    path = CONFIG / f"{name}.yaml"
    loading.load_file(path)
    jsonschema.validate(yaml.safe_load(path.read_text(encoding="utf-8")), json.loads(documentation.schema()))


def test_every_study_of_the_folder_is_known_here():
    tables = {"relations", "aliases", "own-facts-templates"}
    assert {path.stem for path in CONFIG.glob("*.yaml")} == {*STUDIES, *tables}


def test_every_study_has_a_name_of_its_own():
    names = [loading.load_file(CONFIG / f"{name}.yaml").study for name in STUDIES if name != "all-keys"]
    assert len(set(names)) == len(names)


def test_schema_refuses_an_unknown_key():
    with pytest.raises(jsonschema.ValidationError, match="scale"):
        values = yaml.safe_load((CONFIG / "config.yaml").read_text(encoding="utf-8"))
        values["experiments"]["scaling"]["scale"] = [60]
        jsonschema.validate(values, json.loads(documentation.schema()))


def test_every_key_has_a_type_and_a_docstring():
    keys = [key for section in documentation.sections() for key in section.keys]
    names = [key.name for key in keys]
    assert len(names) == len(set(names)) > 90
    assert [key.name for key in keys if not (key.kind and key.default and key.meaning.endswith((".", ")")))] == []


@pytest.mark.parametrize(
    ("name", "kind", "default"),
    [
        ("study", "text", "`demo`"),
        ("models.<name>.geometry.layers", "whole number, ≥ 1", "*required*"),
        ("models.<name>.revision", "text", "*unset*"),
        ("finetuning.micro_batch_size", "whole number, ≥ 1", "*unset*"),
        ("finetuning.beta1", "number, ≥ 0, < 1", "`0.9`"),
        ("finetuning.learning_rate", "number, > 0", "`1.0e-05`"),
        ("finetuning.dtype", "`bfloat16`, `float32`", "`bfloat16`"),
        ("finetuning.allow_smaller", "`true` or `false`", "`false`"),
        ("experiments.scaling.scales", "list of: whole number or `all`", "`[]`"),
        (
            "experiments.concentration.criteria",
            "list of: `relative`, `absolute`, `bottom`, `random`, `smallest`",
            "`[relative]`",
        ),
    ],
)
def test_key_is_described(name, kind, default):
    keys = {key.name: key for section in documentation.sections() for key in section.keys}
    assert (keys[name].kind, keys[name].default) == (kind, default)


def test_generator_checks_and_writes(tmp_path):
    script = ROOT / "scripts" / "config_docs.py"
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.yaml").write_bytes((CONFIG / "config.yaml").read_bytes())
    checked = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, cwd=tmp_path)
    assert checked.returncode == 1
    assert "config/README.md" in checked.stderr and "sftlens config-docs" in checked.stderr
    assert not (tmp_path / "config" / "README.md").exists()
    subprocess.run([sys.executable, script], check=True, cwd=tmp_path)
    assert subprocess.run([sys.executable, script, "--check"], capture_output=True, cwd=tmp_path).returncode == 0


def test_every_figure_says_what_it_is_no_evidence_for():
    assert DEMO.notice == SYNTHETIC
    assert loading.load_file(CONFIG / "entityquestions-tiny.yaml").notice == SAMPLED
    own = loading.load_file(CONFIG / "own-facts.yaml").notice
    assert own == OWN_TABLE and "facts of the study's own table" in own and "real facts" not in own
    assert loading.load_file(CONFIG / "paper.yaml").notice == ""


def test_a_key_of_a_studys_own_file_that_stands_twice_is_refused(tmp_path: Path) -> None:
    text = (ROOT / "config" / "config.yaml").read_text()
    (tmp_path / "twice.yaml").write_text(text + "study: other\n")
    run = planned(tmp_path, tmp_path / "twice.yaml")
    assert run.returncode == 1
    assert f"error: {tmp_path}/twice.yaml: not valid YAML (repeated key 'study'" in run.stdout + run.stderr


def test_a_shipped_file_is_never_taken_without_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A relative path of a study means the working folder; only what is not there comes from sftlens."""
    monkeypatch.chdir(tmp_path)
    given = DEMO.model_dump(mode="json") | {"templates": "config/relations.yaml"}
    given["models"]["tiny"]["templates"] = "config/own-facts-templates.yaml"
    study = loading.load(given, "my.yaml")
    assert study.templates == str(ROOT / "config/relations.yaml")
    told = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[2].strip("'") for line in told] == ["templates", "models.tiny.templates"]
    assert all(line.startswith("notice: my.yaml: ") and str(ROOT / "config") in line for line in told)

    (tmp_path / "config").mkdir()
    (tmp_path / "config/relations.yaml").write_text("P17: {templates: ['{subject} is in']}\n", encoding="utf-8")
    del given["models"]["tiny"]["templates"]
    assert loading.load(given, "my.yaml").templates == "config/relations.yaml"
    del given["templates"]
    assert loading.load(given, "my.yaml").templates == "config/relations.yaml"
    assert capsys.readouterr().err == ""
    (tmp_path / "config/relations.yaml").unlink()
    assert loading.load(given, "my.yaml").templates == str(ROOT / "config/relations.yaml")  # nothing was asked for
    assert capsys.readouterr().err == ""

    parser = options.Parser()
    parser.add_argument("--templates", type=Path)
    assert parser.parse_args(["--templates", "config/relations.yaml"]).templates == ROOT / "config/relations.yaml"
    assert capsys.readouterr().err.startswith("notice: --templates: config/relations.yaml is not in the working folder")
