"""What restoration writes: checkpoints, cards and level maps; and what it refuses to write."""

import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from repository import ROOT
from restoration_models import SETTINGS, cuts_of, drawn, pair_of
from script_calls import ok, refused
from sftlens.errors import DataError, ModelError
from sftlens.files import read_json, sha256, write_json
from sftlens.models.safetensors_reader import INDEX, TensorFolder
from sftlens.restoration import criteria, topk
from sftlens.restoration.apply import Restorer
from sftlens.restoration.export import NOT_RESTORED
from tiny import tiny_model

SCRIPTS = ROOT / "scripts"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `base` and its fine-tuned `ft`, which is in several files."""
    folder = tmp_path_factory.mktemp("models")
    tiny_model(folder / "base", dtype=torch.bfloat16)
    tiny_model(folder / "ft", dtype=torch.bfloat16, shard_size="20KB")
    generator = torch.Generator().manual_seed(0)
    for path in sorted((folder / "ft").glob("*.safetensors")):
        tensors = load_file(path)
        noisy = {n: t + (torch.randn(t.shape, generator=generator) / 99).to(t.dtype) for n, t in tensors.items()}
        save_file(noisy, path, {"format": "pt", "note": "kept"})
    return folder


def test_nothing_restored_is_the_finetuned_model_byte_for_byte(models: Path, tmp_path: Path) -> None:
    given = ["--ratio", 0, "--ratio", 30, "--out", tmp_path / "out"]
    ok("restore.py", models / "base", models / "ft", *given)
    files = sorted(path.name for path in (models / "ft").glob("*.safetensors"))
    for name in files:
        assert sha256(tmp_path / "out" / "k0" / name) == sha256(models / "ft" / name)
        restored, tuned = tmp_path / "out" / "k30" / name, models / "ft" / name
        assert restored.stat().st_size == tuned.stat().st_size
        with safe_open(restored, framework="pt") as one, safe_open(tuned, framework="pt") as two:
            assert one.metadata() == two.metadata() == {"format": "pt", "note": "kept"}
    assert any(sha256(tmp_path / "out" / "k30" / name) != sha256(models / "ft" / name) for name in files)


def test_the_card_says_what_the_model_is_and_names_the_folder_of_its_base_alone(models: Path, tmp_path: Path) -> None:
    ok("restore.py", models / "base", models / "ft", "--ratio", 20, "--criterion", "random", "--out", tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    summary = read_json(tmp_path / "out" / "summary.json")
    cut = summary["method"]
    for part in (*summary["inputs"].values(), f"{cut['restored']:,}", f"{cut['elements']:,}", "`transformer`", "20 %"):
        assert part in card
    assert "`random`: A seeded random order" in card and "| seed | 0 |" in card and "epsilon" not in card
    named = [line for line in card.splitlines() if str(models) in line or str(tmp_path) in line]
    assert named and all(f"{models}/base" in line for line in named)


def test_level_map_gives_every_ratio_at_once(models: Path, tmp_path: Path) -> None:
    ratios = ["--ratio", 40, "--ratio", 5, "--ratio", 60]
    given = [*ratios, "--level-map", tmp_path / "levels.safetensors", "--out", tmp_path / "out"]
    ok("restore.py", models / "base", models / "ft", *given)
    with safe_open(tmp_path / "levels.safetensors", framework="pt") as file:
        metadata = file.metadata()
    levels = load_file(tmp_path / "levels.safetensors")
    assert (metadata["ratios"], metadata["criterion"]) == ("[5.0, 40.0, 60.0]", "relative")
    base, tuned = (dict(TensorFolder(models / name)) for name in ("base", "ft"))
    for index, ratio in enumerate((5, 40, 60)):
        for name, restored in TensorFolder(tmp_path / "out" / f"k{ratio}"):
            wanted = torch.where(levels[name] <= index, base[name], tuned[name]) if name in levels else tuned[name]
            assert torch.equal(restored, wanted), (name, ratio)
    all_levels = torch.cat([level.flatten() for level in levels.values()])
    assert set(all_levels.tolist()) == {0, 1, 2, NOT_RESTORED}
    assert int((all_levels == NOT_RESTORED).sum()) == len(all_levels) - len(all_levels) * 60 // 100


def test_level_map_alone_writes_one_file(models: Path, tmp_path: Path) -> None:
    ok("restore.py", models / "base", models / "ft", "--ratio", 5, "--level-map", tmp_path / "map.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["map.safetensors"]


def test_bad_places_are_refused_and_nothing_is_written(models: Path, tmp_path: Path) -> None:
    given = ["restore.py", str(models / "base"), str(models / "ft"), "--ratio", "5"]
    before = sorted(models.rglob("*"))
    assert "--out: is missing" in refused(*given)
    assert "inside of an input" in refused(*given, "--level-map", str(models / "ft" / "map.safetensors"))
    assert "is a folder" in refused(*given, "--level-map", str(tmp_path))
    many = [text for i in range(256) for text in ("--ratio", str(i / 10))]
    assert "256 ratios" in refused(*given, *many[2:], "--ratio", "99", "--level-map", str(tmp_path / "map"))
    assert sorted(models.rglob("*")) == before and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("script", "options", "limit"),
    [
        ("restore.py", ["--ratio", "5", "--out", "a/out"], 12_000),
        ("restore.py", ["--ratio", "5", "--level-map", "a/out"], 3_000),
        ("changes.py", ["--out", "a/out"], 3_000),
    ],
)
def test_no_space_left_is_one_line_and_leaves_nothing(
    models: Path, tmp_path: Path, script: str, options: list[str], limit: int
) -> None:
    """A limit on the size of files stands for a full disk: the error comes in the middle of a file."""

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    command = [sys.executable, SCRIPTS / script, models / "base", models / "ft", *options]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=limited, check=False, cwd=tmp_path)
    assert done.returncode == 1 and "free space or choose another folder" in done.stderr, done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: a/") and "Traceback" not in done.stderr, done.stderr
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_place_of_a_folder_is_one_line(models: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    command = [sys.executable, SCRIPTS / "changes.py", models / "base", models / "ft", "--out", tmp_path / "file" / "x"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "choose another folder" in done.stderr and "Traceback" not in done.stderr


def test_damaged_checkpoints_are_refused(models: Path, tmp_path: Path) -> None:
    def broken(name: str) -> Path:
        return Path(shutil.copytree(models / "ft", tmp_path / name))

    def message(folder: Path) -> str:
        given = [str(models / "base"), str(folder), "--ratio", "5", "--out", str(tmp_path / "out")]
        return refused("restore.py", *given)

    shard = sorted((models / "ft").glob("*.safetensors"))[1].name
    (broken("missing") / shard).unlink()
    assert f"weight file '{shard}' is missing" in message(tmp_path / "missing")
    file = broken("cut") / shard
    file.write_bytes(file.read_bytes()[:-10])
    assert "truncated or damaged" in message(tmp_path / "cut")
    index = broken("mixed") / INDEX
    described = read_json(index)
    name = next(name for name, where in described["weight_map"].items() if where == shard)
    other = next(where for where in described["weight_map"].values() if where != shard)
    write_json(index, {"weight_map": described["weight_map"] | {name: other}})
    assert f"tensor '{name}' is not in this file" in message(tmp_path / "mixed")
    assert not (tmp_path / "out").exists()


def test_the_stream_is_the_whole_restored_checkpoint(tmp_path: Path) -> None:
    base, finetuned = drawn(1, torch.bfloat16)
    pair = pair_of(tmp_path, base, finetuned)
    restorer = Restorer(pair, criteria.make("relative", SETTINGS), cuts_of(pair, "relative", [30])[0])
    stream = dict(restorer)
    assert stream.keys() == finetuned.keys()
    assert all(torch.equal(stream[name], restorer(name, finetuned[name])) for name in finetuned)


def test_segments_and_batches_change_no_selection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many ties in two tensors, so that the last one of a cut lies in the middle of them."""
    generator = torch.Generator().manual_seed(0)
    steps = {f"layers.{i}.w": torch.randint(0, 6, (700,), generator=generator).float() for i in range(2)}
    pair = pair_of(tmp_path, {name: torch.zeros(700) for name in steps}, steps, piece=37)
    ratios = [1.0, 20.0, 60.0, 99.0]
    found = []
    for segments, batch in ((1, 1 << 20), (3, 50), (32, 1), (5000, 1000)):
        monkeypatch.setattr(topk, "SEGMENTS", segments)
        monkeypatch.setattr(topk, "BATCH", batch)
        found.append(cuts_of(pair, "absolute", ratios))
    assert found[0] == found[1] == found[2] == found[3]
    values = torch.cat([steps[name] for name in pair.names]).numpy()
    first = np.argsort(-values, kind="stable")
    for cut in found[0]:
        ranked = criteria.make("absolute", SETTINGS)
        mask = torch.cat([cut.mask(p.name, topk.keys_of(ranked, p), p.start) for p in pair.pieces()]).numpy()
        assert set(np.flatnonzero(mask)) == set(first[: cut.elements])


def test_more_ratios_than_one_pass_can_find(tmp_path: Path) -> None:
    pair = pair_of(tmp_path, *drawn(4, torch.float32))
    found = cuts_of(pair, "random", list(range(101)))
    elements = pair.elements()
    assert [cut.elements for cut in found] == [elements * k // 100 for k in range(101)]
    criterion = criteria.make("random", SETTINGS)
    for cut in found:
        chosen = [cut.mask(p.name, topk.keys_of(criterion, p), p.start).sum() for p in pair.pieces()]
        assert sum(chosen) == cut.elements


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("criterion", criteria.CRITERIA.names())
def test_a_gpu_selects_the_same(tmp_path: Path, criterion: str) -> None:
    pair = pair_of(tmp_path, *drawn(5, torch.bfloat16))
    ranked, ratios = criteria.make(criterion, SETTINGS), [0.3, 5, 20, 60]
    wanted = topk.select(pair, ranked, ratios)
    pair.device = "cuda"
    assert topk.select(pair, ranked, ratios) == wanted


def test_values_beyond_fp32_are_refused(tmp_path: Path) -> None:
    """The limits of fp32, in which elements are compared, are named for what is stored in fp64."""
    base = {"layers.0.w": torch.tensor([1.0, 1e300], dtype=torch.float64)}
    pair = pair_of(tmp_path, base, {"layers.0.w": torch.ones(2, dtype=torch.float64)})
    with pytest.raises(ModelError, match="beyond the range of float32"):
        cuts_of(pair, "relative", [50])


def test_histogram_with_another_number_of_elements_is_refused(tmp_path: Path) -> None:
    pair = pair_of(tmp_path, *drawn(3, torch.float32))
    criterion = criteria.make("relative", SETTINGS)
    counts = topk.histogram(pair, criterion)
    counts[0] += 1
    with pytest.raises(DataError, match="other weights, criterion or region"):
        topk.cuts(pair, criterion, counts, [0, 100])
