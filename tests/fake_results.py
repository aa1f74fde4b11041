"""Invented numbers in the shape of results.parquet: for tests of layout only, nothing here was measured."""

import pandas as pd

from sftlens.data.buckets import BUCKETS

NOTICE = "Invented numbers for layout tests: nothing on this page was measured on any model."
MODEL = "invented"
SCALES = ("60", "240", "480")
SEEDS = (0, 1)
RATIOS = (1.0, 5.0, 20.0, 40.0, 60.0)

_KNOWN = {"D0": 0.01, "D1": 0.16, "D2": 0.38, "D3": 0.55, "D4": 0.82}
_SLOPE = {"D0": -0.065, "D1": 0.008, "D2": 0.032, "D3": 0.04, "D4": 0.02}
_GAIN = {"D0": 0.0040, "D1": 0.0006, "D2": 0.0001, "D3": -0.0008, "D4": -0.0005}


def _row(stage: str, metric: str, value: float, **axes: object) -> dict[str, object]:
    empty = {"train_set": "", "scale": "", "seed": 0, "strategy": "", "criterion": "", "region": "", "split": ""}
    row = {"study": "layout", "model": MODEL, **empty, "ratio": float("nan"), "bucket": "", "relation": ""}
    return row | {"layer": "", "module": "", "stage": stage, "metric": metric, "value": value, "n": 100} | axes


def _accuracies(stage: str, shift: float, **axes: object) -> list[dict[str, object]]:
    rows = []
    for split, offset in (("test", 0.0), ("testood", 0.03)):
        values = {b: min(0.99, max(0.0, known + shift + offset)) for b, known in _KNOWN.items()}
        values["macro"] = sum(values.values()) / 5
        rows += [_row(stage, "contains", v, split=split, bucket=b, **axes) for b, v in values.items()]
    if axes["scale"] != "0":
        rows.append(_row(stage, "contains", min(0.99, 0.6 + shift), split="train", bucket="all", **axes))
    return rows


def _other_scores(shift: float, **axes: object) -> list[dict[str, object]]:
    """Return what is measured beside the accuracy of a model: format, mastery probed again, fewer questions."""
    rows = [_row("evaluate", "reprobed_mastery", 0.45 + 0.6 * shift, split="test", bucket="all", **axes)]
    shares = {"well_formed": min(1, 0.97 + shift / 4), "contains_without_leak": 0.36 + shift}
    for metric, share in (shares | {"contains_not_in_train": 0.37 + shift}).items():
        rows += [_row("evaluate", metric, share, split=split, bucket="macro", **axes) for split in ("test", "testood")]
    return rows


def _cell(bucket: str, step: int, scale: str, seed: int) -> list[dict[str, object]]:
    axes = {"train_set": bucket, "scale": scale, "seed": seed, "strategy": "full"}
    shift = 0.04 + _SLOPE[bucket] * (step + 1) + 0.012 * (2 * seed - 1) * (1 + step * (bucket == "D0"))
    rows = [*_accuracies("evaluate", shift, **axes), *_other_scores(shift, **axes)]
    kl = 1.2 - 8 * _SLOPE[bucket] * (step + 1) + 0.1 * (2 * seed - 1)
    rows.append(_row("divergence", "kl", kl, split="test", bucket="D4", **axes))
    size = 378 if (bucket, scale) == ("D2", "480") else int(scale)
    rows.append(_row("finetune", "examples", size, **axes))
    where = {"criterion": "relative", "region": "transformer"}
    for ratio in RATIOS:
        share = 0.62 + 0.09 * ratio**0.35
        rows.append(_row("changes", "share_of_change", share, ratio=ratio, **where, **axes))
        rows.append(_row("changes", "null_share_of_change", share - 0.01, ratio=ratio, **where, **axes))
        if scale == "480" and seed == 0:
            rows += _restored(bucket, shift, ratio, axes)
    return rows + (_places(axes) + _blocks(shift, axes) if scale == "480" and seed == 0 else [])


def _restored(bucket: str, shift: float, ratio: float, axes: dict[str, object]) -> list[dict[str, object]]:
    rows = []
    for criterion, much in (("relative", 1.0), ("interpolation", 0.9)):
        where = {"criterion": criterion, "region": "transformer", "ratio": ratio}
        rows += _accuracies("restore", shift + much * _GAIN[bucket] * ratio, **where, **axes)
        rows.append(_row("restore", "reverted_d2", ratio / 110, **where, **axes))
    return rows


def _places(axes: dict[str, object]) -> list[dict[str, object]]:
    where = {"criterion": "relative", "region": "transformer", **axes}
    shares = {"place_elements": (0.25, 0.25), "place_restored": (0.4, 0.1), "place_sum_d2": (0.3, 0.2)}
    shares["place_unchanged"] = (0.5, 0.1)
    places = [(layer, module, i) for layer in ("0", "1") for i, module in enumerate(("q_proj", "up_proj"))]
    return [
        _row("changes", metric, values[i], layer=layer, module=module, **where)
        for layer, module, i in places
        for metric, values in shares.items()
    ]


def _blocks(shift: float, axes: dict[str, object]) -> list[dict[str, object]]:
    first, second = ({"criterion": "relative", "region": f"layers{i}-{i}", "ratio": 100.0, **axes} for i in (0, 1))
    return _accuracies("restore", shift - 0.1, **first) + _accuracies("restore", shift - 0.02, **second)


def _quality() -> list[dict[str, object]]:
    rows = [
        _row("mastery_quality", "mastery_by_exposure", value, split=split, bucket=f"exposure {name}")
        for split in ("train", "test", "testood")
        for name, value in (("0", 0.02), ("1", 0.05), ("2-3", 0.2), ("16-31", 0.7))
    ]
    rows += [_row("mastery_quality", "exposure_spearman", 0.75, split=split) for split in ("train", "test", "testood")]
    rows += [_row("mastery_quality", name, 0.8) for name in ("retest_agreement", "kappa", "variance_fact")]
    return [*rows, _row("mastery_quality", "reliability", 0.9, bucket="7 x 10")]


def fake_results() -> pd.DataFrame:
    """Return an invented study: one model, n = 0, 60, 240, 480, five buckets, two seeds, restored at 480."""
    counts = {
        "train": (700, 500, 378, 540, 384),
        "test": (310, 180, 140, 210, 160),
        "testood": (310, 151, 101, 185, 93),
    }
    rows = [
        _row("mastery", "facts", n, split=split, bucket=bucket)
        for split, sizes in counts.items()
        for bucket, n in zip(BUCKETS, sizes, strict=True)
    ]
    rows += _quality()
    for strategy, shift in (("base", -0.01), ("fewshot", 0.015)):
        axes = {"train_set": "base", "scale": "0", "strategy": strategy}
        rows += [*_accuracies("evaluate", shift, **axes), *_other_scores(shift, **axes)]
    base = {"train_set": "base", "scale": "0", "strategy": "base"}
    rows.append(_row("divergence", "kl", 1.52, split="test", bucket="D4", **base))
    for bucket in BUCKETS:
        for step, scale in enumerate(SCALES):
            for seed in SEEDS:
                rows += _cell(bucket, step, scale, seed)
    table = pd.DataFrame(rows)
    return table.assign(low=table["value"] - 0.01, high=table["value"] + 0.01)


def fake_runs() -> pd.DataFrame:
    """Return invented jobs of the same cells."""
    rows = [
        {"model": MODEL, "train_set": f"D{i}", "scale": scale, "seed": seed, "strategy": "full", "stage": stage,
         "criterion": "", "region": "", "ratio": float("nan"), "file": f"results/s/{i}/{scale}/{seed}/{stage}.json",
         "version": 1, "inputs": "model 0123456789ab", "packages": "torch 2", "finished": "2026-01-01 00:00:00",
         "seconds": 60.0, "gigabytes": 1.5, "gpus": 1, "machine": "1 x H100"}
        for i in range(5) for scale in ("60", "240", "480") for seed in (0, 1) for stage in ("finetune", "evaluate")
    ]  # fmt: skip
    return pd.DataFrame(rows)
