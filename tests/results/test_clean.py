"""sftlens clean: what no result needs any more goes, on demand; what continues, is in use or is not known stays."""

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from owner_files import by, owned
from repository import ROOT
from script_calls import ok, refused
from sftlens.config import loading
from sftlens.dag import cells, recorded
from sftlens.dag.paths import Paths
from sftlens.files import write_json
from sftlens.runtime import stages
from sftlens.runtime.stages import Stage

GEOMETRY = {"layers": 2, "hidden_size": 8, "intermediate_size": 8, "heads": 2, "kv_heads": 2, "vocab_size": 9}
SETTINGS: dict[str, Any] = {
    "study": "tidy",
    "templates": str(ROOT / "config/relations.yaml"),
    "models": {"one": {"source": "path", "path": "models/one", "geometry": GEOMETRY}},
    "experiments": {"scaling": {"train_sets": ["D0"], "scales": [8], "seeds": [0, 1], "shots": 0}},
}


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study all of whose jobs are finished, through a state as the stages make it."""
    monkeypatch.chdir(tmp_path)
    study = loading.load(SETTINGS)
    paths = Paths(study)
    recorded.record(study)
    for product in cells.distinct(study):
        shared = product.stage == "mastery"
        work(product.stage, Path(paths.summary(product)), paths.shared_state if shared else paths.state, "")
    for _, stage, output, _ in paths.shared_work(cells.distinct(study)):
        Path(output).parent.mkdir(parents=True, exist_ok=True)
        write_json(Path(output), {"made": stage + output})
    settle(tmp_path)
    return Path(paths.state)


def work(stage: str, output: Path, state: Path | str, said: str) -> Stage:
    """Make an output in the way in which every program does."""
    made = Stage(stage, {"summary.json": output}, {"said": said + str(output)}, Path(state))
    stages.run(made, lambda folder: write_json(folder / "summary.json", {"said": said + str(output)}))
    return made


def settle(folder: Path) -> None:
    """Let everything be a day old."""
    for path in folder.rglob("*"):
        os.utime(path, (1e9, 1e9))


def below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_nothing_of_a_finished_study_is_removed(state: Path, tmp_path: Path) -> None:
    before = below(tmp_path)
    assert len([*state.iterdir()]) == 5
    ok("clean.py", "tidy", "--shared", "--yes")
    assert below(tmp_path) == before


def test_a_seed_that_the_study_lost_leaves_work_that_is_removed_on_demand(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = loading.load({**SETTINGS, "experiments": {"scaling": {**SETTINGS["experiments"]["scaling"], "seeds": [0]}}})
    recorded.record(lost)
    before = below(tmp_path)
    ok("clean.py", "tidy")
    said = capsys.readouterr().out
    assert below(tmp_path) == before
    assert "finished, and no result of the study" in said and "would be removed" in said
    ok("clean.py", "tidy", "--yes")
    kept = {path.name.rpartition("-")[0] for path in state.iterdir()}
    assert kept == {"finetune", "evaluate"} and len([*state.iterdir()]) == 3
    results = {path for path in before if ".state" not in path}
    assert {path for path in below(tmp_path) if ".state" not in path} == results


@pytest.mark.parametrize("loses", ["a result", "nothing"])
def test_work_that_may_be_the_missing_result_stays(state: Path, tmp_path: Path, loses: str) -> None:
    study = loading.load(SETTINGS)
    [old] = [p for p in cells.distinct(study) if (p.stage, p.cell.seed, p.cell.scale) == ("evaluate", 1, "8")]
    other = work("evaluate", tmp_path / "elsewhere.json", state, "earlier")
    unfinished = state / f"evaluate-{'0' * 16}" / "resume"
    unfinished.mkdir(parents=True)
    if loses == "a result":
        Path(Paths(study).summary(old)).unlink()
    settle(tmp_path)
    ok("clean.py", "tidy", "--yes")
    stays = loses == "a result"
    assert (unfinished.exists(), (state / f"evaluate-{other.key}").exists()) == (stays, stays)


def _dead(folder: Path) -> None:
    owned(folder / "owner", by(socket.gethostname(), 1 << 30))
    (folder / "work-abc").mkdir()


def _living(folder: Path) -> None:
    owned(folder / "owner", by(socket.gethostname(), os.getpid()))


def _earlier(folder: Path) -> None:
    write_json(folder / "done.json", {"summary.json": "17"})


def _renamed(folder: Path) -> None:
    folder.rename(folder.with_name("judge-1234"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_dead, ""),
        (_living, "works there: left alone"),
        (_earlier, "recorded by another version of sftlens: left alone"),
        (_renamed, "not of a job of this version of sftlens: left alone"),
    ],
)
def test_what_is_in_use_or_not_known_is_named_and_left_alone(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Callable[[Path], None], words: str
) -> None:
    other = work("evaluate", tmp_path / "elsewhere.json", state, "earlier")
    change(state / f"evaluate-{other.key}")
    settle(tmp_path)
    before = below(state)
    ok("clean.py", "tidy", "--yes")
    assert words in capsys.readouterr().out
    assert (below(state) == before) == bool(words)


def test_work_that_a_run_may_be_about_to_publish_stays(state: Path, tmp_path: Path) -> None:
    other = work("evaluate", tmp_path / "elsewhere.json", state, "earlier")
    ok("clean.py", "tidy", "--yes")
    assert (state / f"evaluate-{other.key}").is_dir()


def test_shared_folders_that_no_study_refers_to_are_listed_and_removed_with_a_flag(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = tmp_path / "results/models/one/mastery-0123456789"
    write_json(old / "mastery.json", {})
    ok("clean.py", "tidy", "--yes")
    assert f"{old.relative_to(tmp_path)}: no study here refers to it (removed with --shared)" in capsys.readouterr().out
    assert old.is_dir()
    other = {**SETTINGS, "study": "other", "models": {"two": SETTINGS["models"]["one"]}}
    write_json(Path("results/other/study.json"), json.loads(json.dumps(other)))
    # What a study that is not finished will need is not known.
    assert "run this study to its end, or delete it" in refused("clean.py", "tidy", "--shared", "--yes")
    assert old.is_dir()
    (tmp_path / "results/other/study.json").unlink()
    ok("clean.py", "tidy", "--shared", "--yes")
    assert not old.exists() and len([*(tmp_path / "results/models/one").iterdir()]) == 2


def test_a_study_is_cleaned_under_its_own_name(state: Path, tmp_path: Path) -> None:
    Path("results/alias").mkdir()
    (tmp_path / "results/tidy/study.json").rename(tmp_path / "results/alias/study.json")
    assert "its folder is 'alias'; rename one" in refused("clean.py", "alias", "--yes")
