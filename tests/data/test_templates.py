"""Templates: any file of the form is taken, anything else is refused with its place and the remedy."""

import json
from pathlib import Path

import pytest

from repository import ROOT
from sftlens.data import relations
from sftlens.data.relations import RELATIONS
from sftlens.errors import TemplateError

SHIPPED = ROOT / "config" / "relations.yaml"


def write(folder: Path, text: str) -> Path:
    path = folder / "templates.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(path: Path) -> str:
    with pytest.raises(TemplateError) as caught:
        relations.load_templates(path)
    message = str(caught.value)
    assert message.startswith(str(path)) and "\n" not in message
    return message


def test_order_is_kept_and_other_keys_are_ignored(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "P19:\n  name: birthplace\n  templates: ['{subject} was born in', 'Born was {subject} in']\n"
        "P17: {templates: ['{subject} lies in']}\n",
    )
    assert relations.load_templates(path) == {
        "P19": ["{subject} was born in", "Born was {subject} in"],
        "P17": ["{subject} lies in"],
    }


def test_json_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "templates.json"
    path.write_text(json.dumps({"P19": {"question": "?", "templates": ["{subject} « é » in"]}}))
    assert relations.load_templates(path) == {"P19": ["{subject} « é » in"]}


def test_shipped_file_serves_all_relations() -> None:
    if not SHIPPED.is_file():
        pytest.skip("config/relations.yaml is not there yet")
    shipped = relations.load_templates(SHIPPED)
    relations.require_templates(shipped, RELATIONS, SHIPPED)
    assert {len(sentences) for sentences in shipped.values()} == {21}


@pytest.mark.parametrize(("entry", "words"), [
    ("{templates: ['A city is in']}", ("'A city is in'", "exactly once")),
    ("{templates: ['{subject} and {subject} in']}", ("2 places", "exactly once")),
    ("{templates: ['{Subject} was in']}", ("exactly once",)),
    ("{templates: ['{subject} was born in {object}']}", ("braces", "remove")),
    ("{templates: ['{subject} was in ']}", ("white space", "remove")),
    ("{templates: ['{subject} in', '{subject} of', '{subject} in']}", ("'{subject} in'", "twice", "remove")),
    ("{templates: [3]}", ("3", "quotes")),
    ("{templates: []}", ("at least one",)),
    ("{templates: '{subject} in'}", ("templates:",)),
    ("{template: ['{subject} in']}", ("templates:",)),
    ("['{subject} in']", ("templates:",)),
    ("", ("templates:",)),
])  # fmt: skip
def test_malformed_entry_names_relation_sentence_and_remedy(tmp_path: Path, entry: str, words: tuple[str, ...]) -> None:
    message = refusal(write(tmp_path, f"P17: {{templates: ['{{subject}} lies in']}}\nP19: {entry}\n"))
    assert all(word in message for word in ("P19", *words))


@pytest.mark.parametrize(("text", "word"), [
    ("- a", "mapping"),
    ("P17: [", "line"),
    ("17: {templates: ['{subject} in']}", "quotes"),
    ("P17: {templates: [{subject} in]}", "line"),
    ("P17: {templates: ['{subject} in']}\nP17: {templates: ['{subject} of']}", "repeated key 'P17'"),
])  # fmt: skip
def test_malformed_file_names_the_place(tmp_path: Path, text: str, word: str) -> None:
    assert word in refusal(write(tmp_path, text))


def test_missing_file(tmp_path: Path) -> None:
    assert "cannot be read" in refusal(tmp_path / "none.yaml")


def test_required_relation_without_templates(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    relations.require_templates({"P17": ["{subject} in"]}, ["P17", "P17"], path)
    with pytest.raises(TemplateError, match=r"t\.yaml: no templates for relation P19, P20; add `P19:"):
        relations.require_templates({"P17": ["{subject} in"]}, ["P17", "P19", "P20", "P19"], path)


@pytest.mark.parametrize("subject", ["Ada", "{0}", "{subject}", "a{b", "100%", r"\1"])
def test_fill_takes_any_subject(subject: str) -> None:
    assert relations.fill("the {subject}, in", subject) == f"the {subject}, in"
