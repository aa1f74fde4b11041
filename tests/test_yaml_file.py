"""YAML that cannot be kept is refused in one line, whatever libyaml would do with it."""

from pathlib import Path

import pytest

from sftlens.errors import ConfigError
from sftlens.yaml_file import read_mapping

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{here}: &{here} [{', '.join([f'*{before}'] * 10)}]\n" for before, here in zip("abcdefg", "bcdefgh", strict=True)
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: " + "[" * 100_000, "nested more than 100 deep"),
        ("{a: " * 20_000, "nested more than 100 deep"),
        (BOMB, "with its anchors it holds more than 1,000,000 values"),
        ("a: &a [*a]", "with its anchors it holds more than 1,000,000 values"),
        ("a: 1" + "0" * 5000, "limit"),
        ("a: 0x" + "f" * 5000, "a number has more than 101 digits"),
        ("a: 1\nb: {c: 1, c: 2}", "repeated key 'c'"),
        ("study: a\nstudy: b", "repeated key 'study'"),
        ("a: 2020-99-99", "month must be in 1..12"),
        ("? [a]\n: 1", "unhashable key"),
        ("a: !!bool x", "'x'"),
        ("a: !!timestamp x", "NoneType"),
        ("a: !!python/object:os.system x", "could not determine a constructor"),
        ('a: "\\ud800"', "invalid Unicode"),
        ("a: \0", "control characters are not allowed"),
        ("[a]", "holds no mapping but list"),
    ],
)
def test_yaml_that_cannot_be_kept_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "{x}.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        read_mapping(path, ConfigError)
    message = str(error.value)
    assert message.startswith(f"{path}: ") and words in message and "\n" not in message and len(message) < 500


def test_anchors_and_merges_are_read(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("a: &a {x: 1}\nb:\n  <<: *a\n  y: [*a, *a]\n", encoding="utf-8")
    assert read_mapping(tmp_path / "x.yaml", ConfigError)["b"] == {"x": 1, "y": [{"x": 1}, {"x": 1}]}
