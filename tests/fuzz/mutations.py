"""What may be wrong with a file or an option: its bytes, its types, its names, its sizes, each chosen by a Random."""

import copy
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd
import yaml

NAMES = (
    "../outside",
    "../../outside",
    "/tmp/outside",
    "/etc/passwd",
    ".",
    "..",
    "a/../../b",
    "~root/x",
    "x\x00y",
    "CON",
)
TEXTS = ("", " ", "x" * 100_000, "\ud800", "\u202e\x1b[2J", "{subject}{0}{", "<script>alert(1)</script>", "=1+1", "нет",
         "a\nb\r\nc", "(a+)+$", "%s%n", "$(touch outside)", "'; --", "\u2028", "NaN", "-1", "auto", "none")  # fmt: skip
NUMBERS = (-1, 0, 1, 2, 1 << 31, (1 << 63) - 1, 1 << 64, 10**40, -(10**18), 0.5, -0.0, 1e308, 1e-320, float("nan"),
           float("inf"), -float("inf"))  # fmt: skip
OTHERS = (None, True, False, [], {}, [[]], [None], [1], ["x"], {"x": 1}, {"": None}, [{}], [[[[1]]]])


def hostile(draw: Random) -> Any:
    """Return a value that is rarely the right one."""
    return copy.deepcopy(draw.choice(draw.choice((NAMES, TEXTS, NUMBERS, OTHERS))))


def _deep(levels: int) -> str:
    return "[" * levels + "]" * levels


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every container of a value with each of its keys."""
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])


def changed(value: Any, draw: Random) -> Any:
    """Return a JSON value with one place changed: another value, another type, a key lost, renamed or moved."""
    value = copy.deepcopy(value)
    places = list(_places(value))
    if not places or draw.random() < 0.03:
        return hostile(draw)
    # By depth, so that ten keys above are met as often as the thousand words of a vocabulary below them.
    inside, key = draw.choice(places[:40] if draw.random() < 0.6 else places)
    what = draw.randrange(6)
    if what == 0:
        del inside[key]
    elif what == 1 and isinstance(inside, dict):
        inside[draw.choice((f"{key}_", key.upper() if isinstance(key, str) else "x", "", *NAMES))] = inside.pop(key)
    elif what == 2:
        inside[key] = [inside[key]] if draw.random() < 0.5 else {"value": inside[key]}
    elif what == 3 and isinstance(inside[key], (int, float)):
        inside[key] = draw.choice((-inside[key], inside[key] * 1000, str(inside[key]), inside[key] + 0.5))
    else:
        inside[key] = hostile(draw)
    return value


def _json_text(value: Any, draw: Random) -> str:
    text = json.dumps(value)
    if draw.random() < 0.1 and '"' in text:  # a key twice, half an escape, a number of 5,000 digits, deep nesting
        head, quote, tail = text.partition('"')
        added = draw.choice((f'"{"x" * 10}": {"9" * 5000}, ', f'"y": {_deep(100_000)}, ', '"z": "\\ud800", ',
                             '"w": 1, "w": 2, ', '"v": NaN, ', '"u": 1e999, '))  # fmt: skip
        text = head + added + quote + tail
    return text


def of_bytes(path: Path, draw: Random) -> None:
    """Damage a file whatever is in it: cut, flipped, filled, doubled, emptied."""
    data = bytearray(path.read_bytes())
    what = draw.randrange(6)
    if what == 0 or not data:
        data = data[: draw.randrange(len(data) + 1)]
    elif what == 1:
        for _ in range(draw.choice((1, 3, 50))):
            data[draw.randrange(len(data))] = draw.randrange(256)
    elif what == 2:
        place = draw.randrange(len(data))
        data[place:place] = draw.choice((b"\xff\xfe", b"\x00" * 64, b"\n", b'"', b"{", b"\xc3\x28", b"\xef\xbb\xbf"))
    elif what == 3:
        data = bytearray(draw.randbytes(draw.choice((1, 8, 300))))
    elif what == 4:
        data += data[: draw.randrange(len(data))]
    else:
        place = draw.randrange(min(len(data), 64))
        data[place : place + 8] = draw.choice((b"\xff" * 8, b"\x00" * 8, (1 << 40).to_bytes(8, "little")))
    path.write_bytes(data)


def of_kind(path: Path, draw: Random) -> None:
    """Put something else in a file's place: nothing, a folder, a link that leads nowhere or in a circle."""
    path.unlink()
    what = draw.randrange(4)
    if what == 0:
        path.mkdir()
    elif what == 1:
        path.symlink_to("/nonexistent/x")
    elif what == 2:
        path.symlink_to(path.name)


def _of_json(path: Path, draw: Random) -> None:
    path.write_text(_json_text(changed(json.loads(path.read_text()), draw), draw))


def _of_yaml(path: Path, draw: Random) -> None:
    value = changed(yaml.safe_load(path.read_text()), draw)
    if draw.random() < 0.5:
        path.write_text(_json_text(value, draw))  # what YAML is, too
    else:
        path.write_text(yaml.safe_dump(value, allow_unicode=True).replace("\ud800", "\\ud800"))


def _of_lines(path: Path, draw: Random) -> None:
    lines = path.read_text().split("\n")
    place = draw.randrange(len(lines))
    if path.suffix == ".jsonl" and lines[place] and draw.random() < 0.7:
        lines[place] = _json_text(changed(json.loads(lines[place]), draw), draw)
    else:
        value = str(hostile(draw)).replace("\ud800", "\udcff")
        cells = lines[place].split(",")
        cells[draw.randrange(len(cells))] = draw.choice((value, f'"{value}', f"{value},{value}", f'"{value}"'))
        lines[place] = ",".join(cells)
    path.write_bytes("\n".join(lines).encode(errors="surrogateescape"))


def _of_parquet(path: Path, draw: Random) -> None:
    table = pd.read_parquet(path, use_threads=False)  # threads would not live on in the process that is forked
    name = draw.choice(list(table))
    what = draw.randrange(8)
    if what == 0:
        table = table.drop(columns=name)
    elif what == 1:
        table = table.rename(columns={name: draw.choice((f"{name}s", "", "x" * 3000, draw.choice(list(table))))})
    elif what == 2:
        table = table.head(draw.choice((0, 1)))
    elif what == 3:
        table[name] = draw.choice((None, 1, 1.5, True, "x", "", b"\xff", pd.Timestamp(0), float("nan")))
    elif what == 4:
        table[name] = [draw.choice(([], [1], ["x"], [None]))] * len(table)
    elif what == 5:
        table = pd.concat([table, table.head(2)])
    else:
        column = table[name].astype(object)
        column.iloc[draw.randrange(len(table))] = hostile(draw)
        table[name] = column
    try:
        table.to_parquet(path, index=draw.random() < 0.1)
    except Exception:  # Arrow cannot keep such a table: let it all be text
        table.astype(str).to_parquet(path)


def _of_safetensors(path: Path, draw: Random) -> None:
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    if draw.random() < 0.3:
        one, other = draw.sample(sorted(header), 2)
        header[one], header[other] = header[other], header[one]
    else:
        header = changed(header, draw)
    text = _json_text(header, draw).encode(errors="surrogatepass")
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + size :])


WAYS: dict[str, Callable[[Path, Random], None]] = {
    ".json": _of_json, ".yaml": _of_yaml, ".csv": _of_lines, ".jsonl": _of_lines, ".txt": _of_lines,
    ".parquet": _of_parquet, ".safetensors": _of_safetensors,
}  # fmt: skip
"""Suffix of a file -> what is changed in it, its form kept."""


def mutate(path: Path, draw: Random) -> str:
    """Change a file, or one of a folder's; return in words which, and how."""
    if path.is_dir():
        inside = sorted(p for p in path.rglob("*") if p.is_file())
        if not inside:  # after a first change
            return "nothing more"
        if draw.random() < 0.05:
            shutil.copyfile(draw.choice(inside), path / draw.choice(("model.safetensors.index.json", "extra.json")))
        path = draw.choice(inside)
    way = WAYS.get(path.suffix, of_bytes)
    if (chance := draw.random()) < 0.25:
        way = of_bytes
    elif chance < 0.3:
        way = of_kind
    try:
        way(path, draw)
    except Exception:  # a second change, of a file that is damaged already or is none any more
        if not path.is_file():
            return f"{path.name} (of_kind)"
        way = of_bytes
        way(path, draw)
    return f"{path.name} ({way.__name__.strip('_')})"


def option(words: list[str], draw: Random) -> list[str]:
    """Return the arguments of a program with one value changed, lost or said twice."""
    words = list(words)
    if not words:  # lost already
        return [str(draw.choice(TEXTS[:-4]))[:100].replace("\ud800", "?")]
    place = draw.randrange(len(words))
    what = draw.randrange(5)
    if what == 0:
        del words[place]
    elif what == 1:
        words.insert(place, words[place])
    else:
        value = str(hostile(draw)).replace("\x00", "\x01").encode(errors="replace").decode()
        # What is given as --out is meant: no name here may lead out of the case's folder.
        words[place] = "../outside" if value.startswith(("/", "~")) else value[:50_000]
    return words
