"""Reading EntityQuestions (Sciavolino et al. 2021) as published: a folder or the official zip.

The layout is `{train,dev,test}/P*.{split}.json`, at the top or one folder below; each file is a list of
`{"question": str, "answers": [str, ...]}`. A zip is read in place, never extracted.
"""

import hashlib
import json
import re
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from sftlens.data.relations import PUBLISHED, Relation
from sftlens.errors import DataError

Root = Path | zipfile.Path

_LAYOUT = "{train,dev,test}/P*.{train,dev,test}.json"
_FETCH = "fetch the data set again"


class Item(NamedTuple):
    """One question of a published file."""

    position: int
    """Position in its file, from 0."""
    subject: str
    question: str
    answers: list[str]
    """The first is the object; in a table of one's own its other accepted names follow."""
    fact_id: str = ""
    """Of a table that brings its own."""


@contextmanager
def opened(path: Path) -> Iterator[Root]:
    """Yield the folder that holds the splits, of a directory or a zip file. Raises DataError without one."""
    if path.is_dir():
        yield _splits_folder(path)
    elif path.is_file():
        try:
            archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise DataError(
                f"{path}: not a readable zip file ({error}); let facts.path (or ENTITY_QUESTIONS_DIR) name the "
                f"folder or the official zip of EntityQuestions, or {_FETCH} if the download broke off"
            ) from None
        with archive:
            yield _splits_folder(zipfile.Path(archive))
    else:
        raise DataError(
            f"{path}: no such folder or zip file of EntityQuestions; correct facts.path (or ENTITY_QUESTIONS_DIR)"
        )


def _splits_folder(top: Root) -> Root:
    """Return `top` or its one subfolder with a folder of a published split in it."""

    def holds_splits(folder: Root) -> bool:
        return any((folder / split).is_dir() for split in PUBLISHED)

    nested = (child for child in top.iterdir() if child.is_dir() and child.name != "__MACOSX")
    found = [top] if holds_splits(top) else sorted(filter(holds_splits, nested), key=str)
    if len(found) == 1:
        return found[0]
    several = f"several data sets: {', '.join(map(str, found))}"
    raise DataError(
        f"{top}: {several if found else f'no {_LAYOUT}, here or one folder below'}; "
        "let facts.path (or ENTITY_QUESTIONS_DIR) name the folder that holds train, dev and test"
    )


def require(root: Root, files: Iterable[tuple[str, str]]) -> None:
    """Raise DataError unless the file of each (published split, relation) is there."""
    missing = [name for pair in files if not (name := _file(root, *pair)).is_file()]
    if missing:
        others = f" (and {len(missing) - 1} other files)" if len(missing) > 1 else ""
        raise DataError(
            f"{missing[0]}: this file of the data set is missing{others}; {_FETCH} with all files {_LAYOUT}, "
            "correct facts.path (or ENTITY_QUESTIONS_DIR), or list the relations that there are in facts.relations"
        )


def refuse_unread(root: Root, known: Collection[str]) -> None:
    """Raise DataError when there are files of other relations than the `known` ones: they would be left out unseen."""
    unread = []
    for split in PUBLISHED:
        inside: list[Root] = [*(root / split).iterdir()] if (root / split).is_dir() else []
        for file in sorted(inside, key=str):
            name = file.name.removesuffix(f".{split}.json")
            if name not in (file.name, *known) and not name.startswith("."):
                unread.append((file, name))
    if unread:
        file, name = unread[0]
        others = f" and {len(unread) - 1} other files are" if len(unread) > 1 else " is"
        raise DataError(
            f"{file}{others} of no relation of the study and would not be read; to use {name}, list it with the others "
            f'in facts.relations (id: [...], ood: [..., {name}], questions: {{{name}: "... [X] ..."}}); to leave it '
            "out, list the others there"
        )


def read(root: Root, split: str, relation: Relation) -> list[Item]:
    """Return the items of one published file, in file order, every one checked and its subject parsed.

    Raises DataError naming the file and the position or item when it is missing, damaged or of another shape.
    """
    file = _file(root, split, relation.id)
    try:
        items = json.loads(_bytes(file).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file}: not valid JSON ({error}); it is truncated or damaged: {_FETCH}") from None
    if not isinstance(items, list):
        raise DataError(f"{file}: holds {_kind(items)} instead of a list of questions; {_FETCH}")
    return [_checked(f"{file}: item {index}", relation, index, item) for index, item in enumerate(items)]


def identity(root: Root, files: Iterable[tuple[str, str]]) -> str:
    """Return one SHA-256 of the files of some (published split, relation), the same for folder and zip."""
    digest = hashlib.sha256()
    for split, relation in files:
        content = _bytes(_file(root, split, relation))
        digest.update(f"{split}/{relation} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _file(root: Root, split: str, relation: str) -> Root:
    return root / split / f"{relation}.{split}.json"


def _bytes(file: Root) -> bytes:
    try:
        return file.read_bytes()
    # A zip member can be cut off, fail its checksum or be encrypted; a folder's file can be unreadable.
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        raise DataError(f"{file}: cannot be read ({error}); {_FETCH}") from None


def _checked(where: str, relation: Relation, index: int, item: Any) -> Item:
    if not isinstance(item, dict):
        raise DataError(f'{where} is {_kind(item)}; it must be {{"question": ..., "answers": [...]}}')
    for key in ("question", "answers"):
        if key not in item:
            raise DataError(f"{where} has no key {key!r}; add it, or {_FETCH}")
    question, answers = item["question"], item["answers"]
    if not _is_text(question):
        raise DataError(f"{where}: 'question' must be a text; correct it, or {_FETCH}")
    if not isinstance(answers, list) or not all(map(_is_text, answers)):
        raise DataError(f"{where}: 'answers' must be a list of texts; correct it, or {_FETCH}")
    if not all(map(str.strip, answers)):
        raise DataError(f"{where}: 'answers' holds an empty text, which any output would contain; remove or fill it")
    try:
        return Item(index, relation.subject(question), question, answers)
    except DataError as error:
        raise DataError(f"{where}: {error}; correct the question, or {_FETCH}") from None


def _is_text(value: Any) -> bool:
    """Whether a value is a string that can be written as UTF-8 (JSON may spell half a surrogate pair)."""
    return isinstance(value, str) and not re.search(r"[\ud800-\udfff]", value)


def _kind(value: Any) -> str:
    """Name a JSON value's type as a reader of JSON would."""
    names = {dict: "an object", list: "a list", str: "text", bool: "a truth value", type(None): "null"}
    return names.get(type(value), "a number")
