"""Heads and tables of model cards."""

from pathlib import Path

import pytest
import yaml

from sftlens.restoration import cards

REVISION = "0123456789abcdef0123456789abcdef01234567"


def made(folder: Path, card: str | None) -> Path:
    folder.mkdir(parents=True)
    if card is not None:
        (folder / "README.md").write_text(card)
    return folder


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlicense: apache-2.0\nlanguage: en\n---\n# Base", {"license": "apache-2.0"}),
        (
            "---\nlicense: other\nlicense_name: own\nlicense_link: https://a.example/l\n---",
            {"license": "other", "license_name": "own", "license_link": "https://a.example/l"},
        ),
        ("---\nlicense: [a\n---\n", {"license": "unknown"}),
        (f"---\nlicense: {'[' * 100_000}\n---\n", {"license": "unknown"}),
        ("# Base", {"license": "unknown"}),
        (None, {"license": "unknown"}),
    ],
)
def test_the_licence_is_that_of_the_bases_card(tmp_path: Path, card: str | None, licence: dict[str, str]) -> None:
    head = cards.head(made(tmp_path / "base", card))
    found = yaml.safe_load(head.removeprefix("---\n").removesuffix("---\n"))
    assert {key: found[key] for key in cards.LICENCE if key in found} == licence
    assert (found["base_model"], found["pipeline_tag"]) == (f"{tmp_path}/base", "text-generation")


def test_a_base_from_the_hub_is_called_by_its_id(tmp_path: Path) -> None:
    folder = made(tmp_path / "models--org--a--b-1.5" / "snapshots" / REVISION, None)
    assert cards.name_of(folder) == "org/a--b-1.5"
    assert "base_model: org/a--b-1.5\n" in cards.head(folder, "peft")


def test_a_cell_holds_any_text() -> None:
    assert cards.cell("Largest |s - p|\nfirst") == r"Largest \|s - p\| first"
