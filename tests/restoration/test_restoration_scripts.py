"""scripts/changes.py and scripts/restore.py on tiny models, as a user calls them."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from repository import ROOT
from script_calls import ok, refused
from sftlens.config.stages.restoration import RestorationSettings
from sftlens.files import read_json, sha256, write_json
from sftlens.models.checkpoints import load_model
from sftlens.models.delta.reader import open_tensors
from sftlens.models.identity import describe
from sftlens.models.safetensors_reader import TensorFolder
from sftlens.restoration import criteria, topk
from sftlens.restoration.apply import Restorer
from sftlens.restoration.pairs import Pair
from tiny import tiny_model

SCRIPTS = ROOT / "scripts"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `base`, its fine-tuned `ft`, and `sharded`, the same weights as `ft` in several files."""
    folder = tmp_path_factory.mktemp("models")
    tiny_model(folder / "base", dtype=torch.bfloat16)
    tiny_model(folder / "ft", dtype=torch.bfloat16)
    tiny_model(folder / "sharded", dtype=torch.bfloat16, shard_size="20KB")
    generator = torch.Generator().manual_seed(0)
    tensors = load_file(folder / "ft" / "model.safetensors")
    noisy = {n: t + (torch.randn(t.shape, generator=generator) * 0.01).to(t.dtype) for n, t in tensors.items()}
    for path in [folder / "ft" / "model.safetensors", *sorted((folder / "sharded").glob("*.safetensors"))]:
        save_file({name: noisy[name] for name in load_file(path)}, path, {"format": "pt"})
    return folder


def expected(models: Path, ratio: float, region: str = "transformer") -> dict[str, torch.Tensor]:
    """Return the restored weights by ranking one flat vector with numpy."""
    base, finetuned = (load_file(models / name / "model.safetensors") for name in ("base", "ft"))
    inside = [n for n in sorted(base) if region == "all" or ("layers" in n and "norm" not in n)]
    p, s = (torch.cat([x[n].flatten() for n in inside]) for x in (base, finetuned))
    before, after = p.float().numpy(), s.float().numpy()
    ranking = np.argsort(-np.abs(after - before) / (np.abs(before) + np.float32(1e-8)), kind="stable")
    first = torch.from_numpy(ranking[: int(len(ranking) * ratio / 100)].copy())
    s[first] = p[first]
    parts = s.split([base[n].numel() for n in inside])
    return finetuned | {n: part.view(base[n].shape) for n, part in zip(inside, parts, strict=True)}


def folders(models: Path, name: str) -> dict[str, torch.Tensor]:
    return load_file(models / name / "model.safetensors")


def flat_region(tensors: dict[str, torch.Tensor]) -> np.ndarray:
    """Return the region `transformer` as one float64 vector."""
    inside = [n for n in sorted(tensors) if "layers" in n and "norm" not in n]
    return torch.cat([tensors[n].flatten() for n in inside]).double().numpy()


def assert_same(folder: Path, wanted: dict[str, torch.Tensor]) -> None:
    found = dict(TensorFolder(folder))
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert torch.equal(found[name].view(torch.int16), tensor.contiguous().view(torch.int16)), name


def test_restored_checkpoint_is_exact_and_loadable(models: Path, tmp_path: Path) -> None:
    inputs = {path: sha256(path) for path in models.rglob("*") if path.is_file()}
    ok("restore.py", models / "base", models / "ft", "--ratio", 20, "--out", tmp_path / "out")
    assert_same(tmp_path / "out", expected(models, 20))
    model = load_model(tmp_path / "out")
    assert model.dtype == torch.bfloat16
    assert (tmp_path / "out" / "tokenizer.json").is_file() and (tmp_path / "out" / "generation_config.json").is_file()
    assert (tmp_path / "out" / "model.safetensors").stat().st_mode & 0o444 == 0o444
    summary = read_json(tmp_path / "out" / "summary.json")
    assert summary["method"]["restored"] == summary["method"]["elements"] * 20 // 100
    assert {path: sha256(path) for path in inputs} == inputs


def test_sharded_model_and_pointer_give_the_same_tensors(models: Path, tmp_path: Path) -> None:
    pointer = {"path": str(models / "base"), "files": describe(models / "base")}
    write_json(tmp_path / "base.json", pointer)
    ok("restore.py", tmp_path / "base.json", models / "sharded", "--ratio", 5, "--out", tmp_path / "out")
    assert_same(tmp_path / "out", expected(models, 5))
    assert len(list((tmp_path / "out").glob("model-*.safetensors"))) > 1
    load_model(tmp_path / "out")


def test_loading_with_the_restorer_equals_the_written_model(models: Path) -> None:
    pair = Pair(open_tensors(models / "base"), open_tensors(models / "sharded"), "transformer")
    criterion = criteria.make("relative", RestorationSettings())
    cut = topk.cuts(pair, criterion, topk.histogram(pair, criterion), [20])[0]
    state = load_model(models / "sharded", transform=Restorer(pair, criterion, cut)).state_dict()
    for name, tensor in expected(models, 20).items():
        assert torch.equal(state[name], tensor), name


def test_several_ratios_with_changes_share_one_call(models: Path, tmp_path: Path) -> None:
    ok("changes.py", models / "base", models / "ft", "--region", "all", "--out", tmp_path / "changes")
    given = ["--changes", tmp_path / "changes", "--region", "all", "--out", tmp_path / "out"]
    ok("restore.py", models / "base", models / "ft", "--ratio", 0, "--ratio", 2.5, "--ratio", 100, *given)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["k0", "k100", "k2.5"]
    assert_same(tmp_path / "out" / "k0", load_file(models / "ft" / "model.safetensors"))
    assert_same(tmp_path / "out" / "k2.5", expected(models, 2.5, "all"))
    assert_same(tmp_path / "out" / "k100", load_file(models / "base" / "model.safetensors"))
    again = ["restore.py", models / "base", models / "ft", "--ratio", 5, *given[:-1], tmp_path / "new"]
    assert "other weights, criterion or region" in refused(*map(str, again), "--criterion", "absolute")
    histogram = pd.read_parquet(tmp_path / "changes" / "histogram.parquet")
    histogram.assign(bin=histogram["bin"] + 0.5).to_parquet(tmp_path / "changes" / "histogram.parquet")
    assert "column 'bin' holds other numbers" in refused(*map(str, again))
    (tmp_path / "changes" / "histogram.parquet").write_bytes(b"PAR1")
    assert "histogram.parquet" in refused(*map(str, again))
    assert not (tmp_path / "new").exists()


def test_changes_writes_its_three_files_and_repeats_them(models: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        ok("changes.py", models / "base", models / "ft", "--out", tmp_path / name)
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == [
        "histogram.parquet", "summary.json", "tensors.parquet"
    ]  # fmt: skip
    for name in ("histogram.parquet", "tensors.parquet"):
        assert sha256(tmp_path / "a" / name) == sha256(tmp_path / "b" / name)
    tensors = pd.read_parquet(tmp_path / "a" / "tensors.parquet")
    assert len(tensors) == 14 and sorted(tensors["layer"].unique()) == [0, 1]
    histogram = pd.read_parquet(tmp_path / "a" / "histogram.parquet")
    assert histogram["count"].sum() == tensors["elements"].sum()
    rows = pd.DataFrame(read_json(tmp_path / "a" / "summary.json")["metrics"])
    shares = rows[rows["metric"] == "share_of_change"]
    assert shares["ratio"].tolist() == [1, 3, 5, 10, 20, 40, 60]
    assert shares["value"].is_monotonic_increasing and shares["value"].between(0, 1).all()
    for metric in ("share_of_abs_d", "share_of_d2", "null_share_of_change"):
        assert (rows["metric"] == metric).sum() == len(shares)
    assert tensors["top_20"].sum() == shares["n"].iloc[4]
    assert tensors["null_top_20"].sum() == pytest.approx(shares["n"].iloc[4])
    here = rows[rows["metric"] == "place_restored"]
    assert len(here) == 14 and here["value"].sum() == pytest.approx(1)


def test_evaluation_in_memory_writes_answers_and_no_model(models: Path, tmp_path: Path) -> None:
    facts = pd.DataFrame({"fact_id": ["a", "b"], "split": ["test", "testood"], "bucket": ["D0", "D4"]})
    facts["question"], facts["aliases"] = "Where was Ada Loren born?", [["Port Vale"], ["Oslo", "Port"]]
    facts["object"] = ["Port Vale", "Oslo"]
    facts.to_parquet(tmp_path / "facts.parquet")
    facts.assign(split="train").to_parquet(tmp_path / "train.parquet")
    given = ["--facts", tmp_path / "facts.parquet", "--out", tmp_path / "out"]
    given += ["--train", tmp_path / "train.parquet", "--scale", 1, "--state", tmp_path / "state"]
    ok("restore.py", models / "base", models / "ft", "--ratio", 20, *given)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["answers.parquet", "summary.json"]
    answers = pd.read_parquet(tmp_path / "out" / "answers.parquet")
    assert answers[["split", "fact_id"]].to_numpy().tolist() == [
        ["test", "a"], ["testood", "b"], ["train", "a"]
    ]  # fmt: skip
    rows = read_json(tmp_path / "out" / "summary.json")["metrics"]
    assert {(row["criterion"], row["region"], row["ratio"]) for row in rows} == {("relative", "transformer", 20)}
    reverted = {row["metric"]: row["value"] for row in rows}
    p, s, made = (flat_region(x) for x in (folders(models, "base"), folders(models, "ft"), expected(models, 20)))
    assert reverted["reverted_d2"] == pytest.approx(1 - ((made - p) ** 2).sum() / ((s - p) ** 2).sum(), rel=1e-9)
    assert reverted["reverted_elements"] == pytest.approx((made != s).mean())


def test_interpolation_moves_every_parameter_by_the_same_factor(models: Path, tmp_path: Path) -> None:
    base, finetuned, out = models / "base", models / "ft", tmp_path / "out"
    ok("changes.py", base, finetuned, "--out", tmp_path / "changes")
    given = ["--criterion", "interpolation", "--changes", tmp_path / "changes", "--out", out]
    ok("restore.py", base, finetuned, "--ratio", 20, *given)
    p, s, found = (flat_region(folders(place, name)) for place, name in ((models, "base"), (models, "ft"), (out, "")))
    left = 1 - ((flat_region(expected(models, 20)) - s) ** 2).sum() / ((s - p) ** 2).sum()
    assert ((found - p) ** 2).sum() / ((s - p) ** 2).sum() == pytest.approx(left, rel=0.02)
    alpha = read_json(out / "summary.json")["method"]["alpha"]
    assert 0.5 < alpha < np.sqrt(left)  # rounding at random adds to the sum
    np.testing.assert_allclose(found, p + alpha * (s - p), atol=2 * 2**-8 * np.abs(s).max())
    assert load_model(out).dtype == torch.bfloat16
    card = (out / "README.md").read_text()
    assert f"{alpha:.6f}" in card and "20 % by `relative`" in card
    assert "restores no nested sets of parameters" in refused(
        "restore.py",
        base,
        finetuned,
        "--ratio",
        5,
        "--criterion",
        "interpolation",
        "--level-map",
        str(tmp_path / "levels"),
    )


def test_changes_of_several_models_are_compared(models: Path, tmp_path: Path) -> None:
    out = tmp_path / "compared.csv"
    ok("compare_changes.py", models / "base", models / "ft", models / "sharded", models / "base", "--out", out)
    table = pd.read_csv(out)
    assert len(table) == 6 and set(table["a"]) == {str(models / name) for name in ("ft", "sharded", "base")}
    same = table[(table["a"] == str(models / "ft")) & (table["b"] == str(models / "sharded"))].iloc[0]
    p, s = (flat_region(folders(models, name)) for name in ("base", "ft"))
    assert same["cosine"] == pytest.approx(1) and same["norm_a"] == pytest.approx(np.linalg.norm(s - p))


def test_a_script_runs_by_itself_and_fails_in_one_line(models: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        SCRIPTS / "changes.py",
        models / "base",
        models / "no",
        "--out",
        tmp_path / "out",
    ]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 1 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--ratio", "120"], "not in [0, 100]"),
        (["--ratio", "5", "--criterion", "best"], "choose one of: relative"),
        (["--ratio", "5", "--region", "head"], "choose one of: transformer"),
        (["--ratio", "5", "--region", "re:h[.]"], "model.layers.N.self_attn.q_proj.weight"),
        (["--ratio", "5", "--region", "layers0-7"], "layers0-1"),
    ],
)
def test_bad_options_leave_nothing_behind(models: Path, tmp_path: Path, options: list[str], message: str) -> None:
    out = tmp_path / "out"
    assert message in refused("restore.py", models / "base", models / "ft", *options, "--out", out)
    assert not list(tmp_path.iterdir())


def test_damaged_weights_leave_nothing_behind(models: Path, tmp_path: Path) -> None:
    tensors = load_file(models / "ft" / "model.safetensors")
    tensors["model.layers.1.mlp.up_proj.weight"][3, 3] = float("nan")
    (tmp_path / "bad").mkdir()
    save_file(tensors, tmp_path / "bad" / "model.safetensors")
    for script, options in (("restore.py", ["--ratio", "20"]), ("changes.py", [])):
        message = refused(script, models / "base", tmp_path / "bad", *options, "--out", tmp_path / "out")
        assert "'model.layers.1.mlp.up_proj.weight' holds NaN or Inf" in message
        assert not (tmp_path / "out").exists()


def test_inputs_and_foreign_folders_are_never_overwritten(models: Path, tmp_path: Path) -> None:
    given = ["restore.py", models / "base", models / "ft", "--ratio", "20", "--out"]
    for out in (models / "ft", models / "base", models, models / "ft" / "inner"):
        assert "choose another folder" in refused(*given, out)  # type: ignore[arg-type]
    (tmp_path / "mine.txt").write_text("precious")
    assert "not made here" in refused(*given, tmp_path)  # type: ignore[arg-type]
    assert "is a file" in refused(*given, tmp_path / "mine.txt")  # type: ignore[arg-type]


def test_the_option_of_an_earlier_version_works_and_is_named_anew(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = (models / "base", models / "ft")
    ok("changes.py", *pair, "--order", "relative", "--out", tmp_path / "changes")
    ok("restore.py", *pair, "--ratio", 20, "--order=shrink", "--out", tmp_path / "old")
    said = capsys.readouterr().err
    assert said.count("notice: option --order is now called --criterion") == 2
    assert "notice: --criterion shrink is now called interpolation" in said
    ok("restore.py", *pair, "--ratio", 20, "--criterion", "interpolation", "--out", tmp_path / "new")
    assert_same(tmp_path / "old", load_file(tmp_path / "new" / "model.safetensors"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="refusals of a machine without a GPU")
def test_a_device_that_is_not_there_is_refused_where_parameters_are_ranked(models: Path, tmp_path: Path) -> None:
    pair = [models / "base", models / "ft"]
    for script, more in (("changes.py", []), ("restore.py", ["--ratio", 20])):
        said = refused(script, *pair, *more, "--device", "cuda", "--out", tmp_path / "out")
        assert "'cuda' is no device that torch sees here" in said and not list(tmp_path.iterdir())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_ranking_on_a_gpu_restores_the_same_parameters(models: Path, tmp_path: Path) -> None:
    pair = [models / "base", models / "ft"]
    for device in ("cpu", "cuda"):
        ok("changes.py", *pair, "--device", device, "--out", tmp_path / f"changes-{device}")
        ok("restore.py", *pair, "--ratio", 20, "--device", device, "--out", tmp_path / device)
    histograms = [pd.read_parquet(tmp_path / f"changes-{device}/histogram.parquet") for device in ("cpu", "cuda")]
    pd.testing.assert_frame_equal(*histograms)
    weights = [sha256(tmp_path / device / "model.safetensors") for device in ("cpu", "cuda")]
    assert weights[0] == weights[1]
