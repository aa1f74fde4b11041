"""Completion templates: sentences that end where the object of a fact follows (arXiv 2509.16596)."""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from sftlens.errors import TemplateError
from sftlens.yaml_file import read_mapping

SLOT = "{subject}"
"""Where the subject stands in a completion template."""


def load(path: Path) -> dict[str, list[str]]:
    """Return the completion templates of each relation, in the file's order.

    The file is YAML: relation id -> `templates: [...]`; other keys beside `templates` are left to the reader.
    Raises TemplateError naming the file, the relation, the sentence and the remedy.
    """
    found: dict[str, list[str]] = {}
    for relation, entry in read_mapping(path, TemplateError).items():
        where = f"{path}: {relation}"
        sentences = entry.get("templates") if isinstance(entry, dict) else None
        if not isinstance(sentences, list) or not sentences:
            raise TemplateError(f"{where}: has no list of sentences; write `templates:` with at least one")
        for position, sentence in enumerate(sentences):
            said = f"{where}: the template {sentence!r}"
            if not isinstance(sentence, str):
                raise TemplateError(f"{said} is no text; put the sentence in quotes")
            if (slots := sentence.count(SLOT)) != 1:
                raise TemplateError(f"{said} has {slots} places for the subject; write {SLOT} exactly once")
            if set("{}") & set(sentence.replace(SLOT, "")):
                raise TemplateError(
                    f"{said} has braces besides {SLOT}; remove them (the object follows where the sentence ends)"
                )
            if sentence != sentence.strip():
                raise TemplateError(f"{said} begins or ends with white space, which changes its tokens; remove it")
            if sentence in sentences[:position]:
                raise TemplateError(f"{said} stands there twice; remove one")
        found[relation] = sentences
    return found


def identity(path: Path) -> str:
    """Return a content hash of a templates file: of its sentences, not of comments or layout."""
    return hashlib.sha256(json.dumps(load(path), sort_keys=True).encode()).hexdigest()


def require(templates: Collection[str], relations: Iterable[str], path: Path) -> None:
    """Raise TemplateError, naming `path`, unless each of `relations` has templates."""
    missing = [relation for relation in dict.fromkeys(relations) if relation not in templates]
    if missing:
        raise TemplateError(
            f"{path}: no templates for relation {', '.join(missing)}; "
            f"add `{missing[0]}: {{templates: [...]}}`, each sentence with {SLOT}"
        )


def first(templates: Mapping[str, Sequence[str]], count: int | None) -> dict[str, list[str]]:
    """Return the first `count` templates of each relation in the file's order; None: all."""
    return {relation: list(sentences[:count]) for relation, sentences in templates.items()}


def fill(template: str, subject: str) -> str:
    """Return the template with the subject in its place, whatever characters the subject is made of."""
    return template.replace(SLOT, subject)
