"""What a study's results were made from: its configuration, and the content of files from outside wherever they lie."""

import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from functools import cache, reduce
from pathlib import Path
from typing import Any

from sftlens.config import loading
from sftlens.config.study import Study
from sftlens.data import relations
from sftlens.errors import DataError
from sftlens.files import read_json, write_json

RESULTS = "results"
SNAPSHOT = "study.json"
DATA = "data.json"
"""What the data of a study held when its results were made."""
LEAVINGS = {SNAPSHOT, DATA, "logs", "partial", ".state"}
"""What a run leaves in the study's folder even where nothing was made."""
LOCATIONS = ("path", "aliases")
"""Settings of the facts that name files from outside, of which only the content matters."""
BASE_FIELDS = ("source", "path", "revision", "geometry", "pretraining")


def record(study: Study) -> None:
    """Write the study's configuration, and what its data hold, into its results folder for reports and `conflict`."""
    root = Path(RESULTS) / study.study
    write_json(root / SNAPSHOT, snapshot(study))
    write_json(root / DATA, data(study))


def snapshot(study: Study) -> dict[str, Any]:
    """Return the study's configuration as a JSON value."""
    return study.model_dump(mode="json")


def conflict(study: Study, recorded: Mapping[str, Any], held: Mapping[str, Any] | None = None) -> str | None:
    """Return the key that shows that existing results are another study's of the same name, with both values.

    A study may grow (models, scales, seeds, ratios, experiments), its stages may change and its files may move; the
    facts it asks and what a model's name stands for may not change: comparing across them would mix two studies in one
    table. (What a model's folder holds is known when it has been read: sftlens base.) `study` is as it is configured
    now, `recorded` the `snapshot` of the study that made the results, `held` its `data`.
    """
    present, then = snapshot(study), (held or {}).get("path")
    if then and then != data(study)["path"]:
        return f"facts.path: the questions in {study.facts.path} are not those that its results were made with"
    pretrained = any(model.source == "pretrain" for model in study.models.values())
    names: list[tuple[str, ...]] = [
        *[("facts", name) for name in type(study.facts).model_fields if name not in LOCATIONS],
        *([("world",)] if pretrained or study.facts.source == "world" else []),
    ]
    names += [
        ("models", m, k) for m, entry in study.models.items() for k in BASE_FIELDS if k in identifying(entry.source)
    ]
    for place in names:
        old, new = _at(recorded, place), _at(present, place)
        if old is not None and old != new:
            return _difference(".".join(place), old, new)
    return None


def _at(value: Any, place: tuple[str, ...]) -> Any:
    return reduce(lambda at, part: at.get(part) if isinstance(at, Mapping) else None, place, value)


def _difference(place: str, old: Any, new: Any) -> str:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in {**old, **new}:
            if old.get(key) != new.get(key):
                return _difference(f"{place}.{key}", old.get(key), new.get(key))
    return f"{place} was {old!r} and is {new!r}"


def identifying(source: str) -> set[str]:
    """Return which of BASE_FIELDS say what a base model is; where a folder lies and what config.json says do not."""
    return set(BASE_FIELDS) - {"pretrain": set(), "hub": {"geometry"}, "path": {"path", "geometry"}}[source]


def entered(given: str) -> Path:
    """Return the results folder of a study that is given by its name, its folder, or its results.parquet.

    Of a path, the folder that holds results/ becomes the working folder: what a study names lies below that. Raises
    DataError for a path that is none of these.
    """
    name = Path(given).name == given
    if name and ((Path(RESULTS) / given / SNAPSHOT).is_file() or not Path(given).exists()):
        return Path(RESULTS) / given
    folder = Path(given).resolve()
    folder = folder if folder.is_dir() else folder.parent
    if folder.parent.name != RESULTS or not (folder / SNAPSHOT).is_file():
        raise DataError(f"{given}: no study lies there; give {RESULTS}/STUDY, which holds {SNAPSHOT}, or its name")
    os.chdir(folder.parent.parent)
    return Path(RESULTS) / folder.name


def made(root: Path) -> Study:
    """Return the study that made the results in its folder. Raises DataError where nothing did, ConfigError."""
    return loading.load(read_json(root / SNAPSHOT, dict[str, Any]), str(root / SNAPSHOT))


def read_snapshot(root: Path) -> dict[str, Any] | None:
    """Return the configuration that made the results in a study's folder; None where nothing has been made."""
    path = root / SNAPSHOT
    made = (entry for entry in root.glob("*") if entry.name not in LEAVINGS)
    if not path.is_file() or not any(entry.is_file() or any(_files(entry)) for entry in made):
        return None
    return read_json(path, dict[str, Any])


def data(study: Study) -> dict[str, str | None]:
    """Return what the files that a study's facts are made from hold; as recorded where they are not here any more."""
    facts = study.facts
    # Unset, the path of EntityQuestions is that of an environment variable, which another machine need not have.
    named = {"path": facts.source != "world", "aliases": facts.aliases is not None}
    found = {name: content(getattr(facts, name)) for name, wanted in named.items() if wanted}
    recorded = read_data(Path(RESULTS) / study.study) if None in found.values() else {}
    return {name: found.get(name) or (recorded.get(name) if wanted else None) for name, wanted in named.items()}


def read_data(root: Path) -> dict[str, Any]:
    """Return `data` as they were when the results in a study's folder were made; empty where it is not known."""
    path = root / DATA
    return read_json(path, dict[str, Any]) if path.is_file() else {}


@cache
def content(path: str | None) -> str | None:
    """Return what stands for the content of a file, or of the .json files in a folder or zip; None where there is none.

    Sizes and CRC-32 of the files by name, so that a zip and the folder that it was made from are the same.
    """
    top = Path(path or "").expanduser()
    if not path or not top.exists():
        return None
    if top.is_dir():
        sums = [(file.name, file.stat().st_size, zlib.crc32(file.read_bytes())) for file in _files(top)]
    elif zipfile.is_zipfile(top):
        with zipfile.ZipFile(top) as archive:
            sums = [(Path(entry.filename).name, entry.file_size, entry.CRC) for entry in archive.infolist()]
    else:
        return short_hash([top.stat().st_size, zlib.crc32(top.read_bytes())])
    return short_hash(sorted(entry for entry in sums if entry[0].endswith(".json") and not entry[0].startswith(".")))


def sentences(path: str) -> str | None:
    """Return what stands for the sentences of a templates file, whatever its comments and layout; None without it."""
    return relations.templates_identity(Path(path)) if Path(path).is_file() else None


def _files(folder: Path) -> Iterable[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def short_hash(value: Any) -> str:
    """Return ten hexadecimal digits that stand for a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:10]


def stamp(path: str | None) -> str:
    """Names, sizes and change times of files from outside, which no rule makes; "" while there are none."""
    top = Path(path or "")
    if not path or not top.exists():
        return ""
    found = sorted(p for p in top.rglob("*.*") if p.is_file()) if top.is_dir() else [top]
    return short_hash([[str(p.relative_to(top)), p.stat().st_size, p.stat().st_ctime_ns] for p in found])
