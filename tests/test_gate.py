"""What comes out of a file is of the type that is expected, or one line says where it is not."""

from pathlib import Path
from typing import Any

import pytest
from typing_extensions import TypedDict

from sftlens import gate
from sftlens.errors import DataError


class Shape(TypedDict):
    files: dict[gate.FileName, gate.Count]


@pytest.mark.parametrize(
    "name", ["../x", "/etc/passwd", "a/b", ".", "..", "", ".hidden", "a\0b", "a\nb", "x" * 256, "a/../b"]
)
def test_a_name_that_leads_out_of_its_folder_is_refused(name: str) -> None:
    with pytest.raises(DataError, match="is no plain name of a file in this folder; fetch it again"):
        gate.shaped({"files": {name: 1}}, Shape, Path("record.json"))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([], "record.json: holds no mapping but []; fetch"),
        (None, "holds no mapping but None"),
        ({}, "key 'files' is missing"),
        ({"files": ["a"]}, "key 'files' is ['a']: Input should be a valid dictionary"),
        ({"files": {"a": "1"}}, "key 'files.a' is '1': Input should be a valid integer"),
        ({"files": {"a": True}}, "key 'files.a' is True: Input should be a valid integer"),
        ({"files": {"a": -1}}, "key 'files.a' is -1: Input should be greater than or equal to 0"),
        ({"files": {"a": 1 << 70}}, "Input should be less than"),
    ],
)
def test_a_wrong_shape_names_file_key_and_what_is_expected(value: Any, words: str) -> None:
    with pytest.raises(DataError) as error:
        gate.shaped(value, Shape, Path("record.json"))
    assert words in str(error.value) and "\n" not in str(error.value)
    assert gate.shaped({"files": {"a": 1}}, Shape, Path("record.json")) == {"files": {"a": 1}}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 200_000, "nested too deeply"),
        ('{"a":' * 200_000, "nested too deeply"),
        ("1" * 5000, "limit"),
        ('{"a": 1, "b": 2, "a": 3}', "the key 'a' stands there twice"),
        ('{"a": {"alpha": NaN}}', 'key "alpha": NaN is no finite number'),
        ('{"alpha": [-Infinity]}', 'key "alpha": -Infinity is no finite number'),
        ('{"alpha": 1e999}', 'key "alpha": 1e999 is no finite number'),
        (r'{"a": "x\ud800"}', "half of a surrogate pair"),
        (r'{"\udc00": 1}', "half of a surrogate pair"),
        ("{", "Expecting"),
    ],
)
def test_json_that_cannot_be_kept_is_refused_in_one_line(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as error:
        gate.parse_json(text)
    assert "\n" not in str(error.value) and len(str(error.value)) < 300


def test_json_that_can_be_kept_is_read() -> None:
    assert gate.parse_json(r'{"a": ["\ud83d\ude00", 1.5, null]}') == {"a": ["😀", 1.5, None]}
    assert gate.parse_json('{"a": Infinity}', finite=False) == {"a": float("inf")}


def test_expressions_run_in_linear_time() -> None:
    assert gate.matching(r"\.h\.\d+\.(attn|mlp)\.", ["t.h.1.attn.w", "t.h.x.attn.w"]) == [True, False]
    # Python's `re` would take ages.
    assert gate.matching("(.*.*.*.*.*.*.*.*)*Z", ["a" * 20_000]) == [False]
    for pattern in ("[", "(?=a)", r"(a)\1", "a" * 1001):
        with pytest.raises(ValueError):
            gate.matching(pattern, [""])


def test_what_stands_there_twice_is_found_among_very_many() -> None:
    names = [str(number) for number in range(300_000)]
    assert gate.repeated(names) is None
    assert gate.repeated([*names, "7", "8"]) == "7"
    with pytest.raises(ValueError, match="the key '7' stands there twice"):
        gate.parse_json("{" + ", ".join(f'"{name}": 0' for name in [*names, "7"]) + "}")
