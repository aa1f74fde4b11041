"""The fingerprint of a stage follows the meaning of its code: not its words, not its rooms without a say."""

import os
import shutil
import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest

from repository import ROOT
from sftlens.runtime import code_version

SCRIPT = '''"""Count."""

import json
import math
from sftlens import files, progress
from sftlens.rooms.near import area, perimeter

SIDES = 4


class Settings:
    """How."""

    sides: int = SIDES
    """Number of sides."""


def main(sides: int = 4, *, scale: float = 0.5) -> float:
    """Return something."""
    # A comment.
    if sides < 3:
        return 0.0
    return area(sides) * scale + math.pi


main()
'''
TREE = {
    "scripts/stage.py": SCRIPT,
    "src/sftlens/__init__.py": '"""The package."""\n\n__version__ = "1"\n',
    "src/sftlens/files.py": "LIMIT = 1\n",
    "src/sftlens/progress.py": "WIDTH = 80\n",
    "src/sftlens/unused.py": "X = 1\n",
    "src/sftlens/rooms/__init__.py": "",
    "src/sftlens/rooms/near.py": "from sftlens.rooms import far\n\narea = far.RADIUS * 2\n",
    "src/sftlens/rooms/far.py": "RADIUS = 3\n",
}


@pytest.fixture
def of(tmp_path):
    """Return the fingerprint of the little tree after replacements (file, old, new)."""
    number = count()

    def fingerprint(*replacements: tuple[str, str, str]) -> str:
        # Trees are read once for each path.
        root = tmp_path / str(next(number))
        for name, text in TREE.items():
            for file, old, new in replacements:
                if file == name:
                    assert old in text
                    text = text.replace(old, new)
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return code_version.of_script(root / "scripts/stage.py", root / "src")

    return fingerprint


def edit(old: str, new: str) -> tuple[str, str, str]:
    return ("scripts/stage.py", old, new)


def test_equal_code_has_an_equal_fingerprint(of):
    assert of() == of()
    assert len(of()) == 16 and int(of(), 16) >= 0


@pytest.mark.parametrize(
    "replacement",
    [
        edit("    # A comment.\n", ""),
        edit("# A comment.", "# Another one."),
        edit('"""Count."""', '"""Count, and say what.\n\nAt length.\n"""'),
        edit('    """Return something."""\n', ""),
        edit('"""Number of sides."""', '"""How many sides there are."""'),
        edit("return area(sides) * scale + math.pi", "return (\n        area( sides )*scale  + math.pi\n    )"),
        edit(
            "sides: int = 4, *, scale: float = 0.5",
            "\n    sides: int = 4,\n    *,\n    scale: float = 0.5,\n",
        ),
        edit("import json\nimport math\n", "import math\nimport json\n"),
        edit("import json\nimport math\n", "import json, math\n"),
        edit("import files, progress", "import progress, files"),
        edit("import area, perimeter", "import (\n    perimeter,\n    area,\n)"),
        edit("0.5", "5e-1"),
        ("src/sftlens/rooms/far.py", "RADIUS = 3\n", '"""Far."""\n\nRADIUS = 3  # m\n'),
    ],
)
def test_words_do_not_count(of, replacement):
    assert of(replacement) == of()


@pytest.mark.parametrize(
    "replacement",
    [
        edit("SIDES = 4", "SIDES = 5"),
        edit("SIDES = 4", "SIDES = 4.0"),
        edit("SIDES = 4", "SIDES = True"),
        edit("SIDES = 4", "SIDES = '4'"),
        edit("* scale", "/ scale"),
        edit("sides < 3", "sides <= 3"),
        edit("sides: int = 4", "sides: int = 6"),
        edit("scale: float = 0.5", "scale: float = 0.25"),
        edit("scale: float = 0.5", "scale: float"),
        edit("import area, perimeter", "import area"),
        edit("import area, perimeter", "import area, perimeter as area"),
        edit("main()\n", ""),
        edit("    if sides < 3:\n        return 0.0\n", ""),
        ("src/sftlens/files.py", "LIMIT = 1", "LIMIT = 2"),
        ("src/sftlens/rooms/near.py", "* 2", "+ 2"),
    ],
)
def test_meaning_counts(of, replacement):
    assert of(replacement) != of()


def test_module_reached_through_others_counts(of):
    assert of(("src/sftlens/rooms/far.py", "3", "4")) != of()


def test_package_on_the_way_to_a_module_counts(of):
    assert of(("src/sftlens/rooms/__init__.py", "", "X = 1\n")) != of()


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("src/sftlens/progress.py", "80", "40"),
        ("src/sftlens/unused.py", "1", "2"),
        ("src/sftlens/__init__.py", '"1"', '"2"'),
    ],
)
def test_rooms_without_a_say_do_not_count(of, file, old, new):
    assert of((file, old, new)) == of()


def test_every_stage_of_the_project_reaches_its_own_room_only():
    def reached(stage: str) -> set[str]:
        return code_version._reachable(ROOT / "scripts" / f"{stage}.py", ROOT / "src")

    assert {"sftlens.mastery.mastery_table", "sftlens.inference", "sftlens.data.templates"} <= reached("mastery")
    assert {"sftlens.training.loop", "sftlens.inference.prompts", "sftlens.data.training_sets"} <= reached("finetune")
    assert {"sftlens.restoration.criteria.absolute", "sftlens.restoration.topk"} <= reached("changes")
    # What draws the figures must not retrain a model, nor the settings of the other stages.
    for stage in ("mastery", "finetune", "evaluate", "changes", "divergence"):
        assert not {"sftlens.reporting.figures", "sftlens.config.study", "sftlens.runtime.progress"} & reached(stage)
    assert "sftlens.training.loop" not in reached("mastery")
    assert "sftlens.config.mastery" not in reached("finetune")


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_other_versions_of_python_agree(version):
    """The driver and the jobs' environments may run different ones."""
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        pytest.skip("this version runs the tests")
    interpreter = shutil.which(f"python{version}")
    # A version manager may need to be told which of its versions is meant.
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYENV_VERSION": version}
    if not interpreter or subprocess.run([interpreter, "-c", ""], capture_output=True, env=environment).returncode:
        pytest.skip(f"no Python {version} here")
    code = (
        "import sys; from pathlib import Path; from sftlens.runtime import code_version\n"
        "for path in sys.argv[2:]: print(code_version.of_script(Path(path), Path(sys.argv[1])))"
    )
    scripts = sorted((ROOT / "scripts").glob("[a-z]*.py"))
    command = [interpreter, "-c", code, str(ROOT / "src"), *map(str, scripts)]
    found = subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout.split()
    assert found == [code_version.of_script(script, ROOT / "src") for script in scripts]


def test_a_data_file_that_a_module_names_counts(tmp_path: Path) -> None:
    script, page = tmp_path / "script.py", tmp_path / "src/sftlens/page.html"
    page.parent.mkdir(parents=True)
    (page.parent / "__init__.py").write_text("")
    (page.parent / "room.py").write_text("TEMPLATE = 'page.html'\n")
    script.write_text("from sftlens import room\n")
    prints = []
    for text in ("<p>", "<b>"):
        page.write_text(text)
        code_version._digest.cache_clear()
        prints.append(code_version.of_script(script, tmp_path / "src"))
    assert prints[0] != prints[1]
