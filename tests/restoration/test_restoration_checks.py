"""Regions, and the models, criteria and names that restoration refuses."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from restoration_models import SETTINGS, SHAPES, Tensors, cuts_of, drawn, pair_of, saved
from sftlens.errors import ConfigError, ModelError
from sftlens.files import write_json
from sftlens.models.safetensors_reader import INDEX, TensorFolder
from sftlens.restoration import criteria, regions
from sftlens.restoration.pairs import Pair

NAMES = [
    *SHAPES,
    "model.layers.0.self_attn.q_norm.weight",
    "model.layers.0.self_attn.rotary_emb.inv_freq",
    "model.norm.weight",
]


@pytest.mark.parametrize(
    ("region", "wanted"),
    [
        ("transformer", [0, 1, 2, 3]),
        ("attention", [0, 3]),
        ("mlp", [1, 2]),
        ("embedding", [5, 6]),
        ("all", [0, 1, 2, 3, 4, 5, 6, 7, 9]),
        ("layers1-2", [2, 3]),
        ("layers10-10", [1]),
        (r"re:\.up_proj\.", [1]),
    ],
)
def test_regions(region: str, wanted: list[int]) -> None:
    assert regions.select(NAMES, region) == [NAMES[i] for i in wanted]


def test_unknown_region_lists_the_known_ones() -> None:
    with pytest.raises(
        ConfigError, match=r"'heads' is unknown.*transformer, attention, mlp, embedding, all, layersA-B"
    ):
        regions.select(NAMES, "heads")
    with pytest.raises(ConfigError, match="first block after the last"):
        regions.select(NAMES, "layers3-1")
    with pytest.raises(ConfigError, match="not a valid regular expression"):
        regions.select(NAMES, "re:(")


def test_other_naming_is_refused_with_the_region_that_works() -> None:
    names = [
        "transformer.h.0.attn.c_attn.weight",
        "transformer.h.1.mlp.c_fc.weight",
        "transformer.wte.weight",
    ]
    with pytest.raises(ModelError, match=r"transformer\.h\.N\.attn\.c_attn\.weight.*re:"):
        regions.select(names, "transformer")
    assert regions.select(names, r"re:\.h\.\d+\.(attn|mlp)\.") == names[:2]


def test_range_beyond_the_last_block_is_refused() -> None:
    with pytest.raises(ModelError, match="the last block is 10; write layers2-10"):
        regions.select(NAMES, "layers2-12")


def test_unknown_criterion_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"mean .smallest.*relative, absolute, bottom, random, smallest"):
        criteria.make("largest", SETTINGS)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("where", ["base", "ft"])
def test_weights_that_are_not_finite_are_refused_by_name(tmp_path: Path, bad: float, where: str) -> None:
    models = dict(zip(("base", "ft"), drawn(8, torch.bfloat16), strict=True))
    models[where]["model.layers.10.mlp.up_proj.weight"][49] = bad
    pair = pair_of(tmp_path, models["base"], models["ft"])
    with pytest.raises(ModelError, match=rf"{where}: tensor 'model.layers.10.mlp.up_proj.weight' holds NaN or Inf"):
        cuts_of(pair, "random", [20])


def refused(tmp_path: Path, base: Tensors, finetuned: Tensors, message: str, region: str = "transformer") -> None:
    with pytest.raises(ModelError, match=message):
        pair_of(tmp_path, base, finetuned, region)


def test_models_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    base, finetuned = drawn(9, torch.float32)
    name = "model.layers.10.mlp.up_proj.weight"
    without = {key: tensor for key, tensor in finetuned.items() if key != name}
    adapted = finetuned | {"model.layers.0.self_attn.q_proj.lora_A.weight": torch.ones(2)}
    refused(tmp_path, base, without, f"ft: tensor {name!r} is missing, .*base has it; give the base model")
    refused(tmp_path, without, finetuned, f"base: tensor {name!r} is missing, .*ft has it")
    refused(tmp_path, base, adapted, "merge the adapter")
    refused(
        tmp_path,
        base,
        finetuned | {name: torch.ones(49)},
        rf"{name}' has shape \[49\], in the base .* \[50\]",
    )
    whole = {name: torch.ones(50, dtype=torch.int8)}
    refused(tmp_path, base, finetuned | whole, f"ft: tensor {name!r} is I8; restoration needs one of BF16")
    refused(tmp_path, base | whole, finetuned, f"base: tensor {name!r} is I8; restoration needs one of BF16")


@pytest.mark.parametrize("stores", ["base", "ft"])
def test_a_tied_output_embedding_stored_by_one_model_matters_only_in_its_regions(tmp_path: Path, stores: str) -> None:
    whole, _ = drawn(9, torch.float32)
    tied = {name: tensor for name, tensor in whole.items() if name != "lm_head.weight"}
    models = (whole, tied) if stores == "base" else (tied, whole)
    for region in ("embedding", "all"):
        refused(tmp_path, *models, "'lm_head.weight' is missing.*ties its embeddings", region)
    pair = pair_of(tmp_path, *models)
    assert pair.names == pair_of(tmp_path, whole, whole).names


def test_a_resized_vocabulary_matters_only_in_its_regions(tmp_path: Path) -> None:
    base, finetuned = drawn(9, torch.float32)
    finetuned |= {"model.embed_tokens.weight": torch.ones(7, 4)}
    refused(tmp_path, base, finetuned, r"embed_tokens.weight' has shape \[7, 4\].*resized vocabulary", "all")
    assert pair_of(tmp_path, base, finetuned).elements()


def test_a_base_beyond_the_range_of_the_finetuned_type_is_refused(tmp_path: Path) -> None:
    base = {"model.layers.0.mlp.up_proj.weight": torch.tensor([1.0, 1e30])}
    finetuned = {"model.layers.0.mlp.up_proj.weight": torch.ones(2, dtype=torch.float16)}
    with pytest.raises(ModelError, match=r"base: tensor .* beyond the range of float16.*bfloat16 or float32"):
        cuts_of(pair_of(tmp_path, base, finetuned), "relative", [50])


def test_constant_of_old_checkpoints_is_ignored(tmp_path: Path) -> None:
    base, finetuned = drawn(9, torch.float32)
    constant = {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(3)}
    assert pair_of(tmp_path, base | constant, finetuned).names == pair_of(tmp_path, base, finetuned).names


def test_how_a_checkpoint_is_cut_into_files_changes_no_selection(tmp_path: Path) -> None:
    names = ["layers.2.w", "layers.10.w"]
    base = saved(tmp_path / "base", {name: torch.zeros(4) for name in names})
    one = saved(tmp_path / "one", {name: torch.ones(4) for name in names})
    files = [f"model-{i}-of-2.safetensors" for i in (1, 2)]
    for name, file in zip(names, files, strict=True):
        (tmp_path / "two").mkdir(exist_ok=True)
        save_file({name: torch.ones(4)}, tmp_path / "two" / file)
    write_json(tmp_path / "two" / INDEX, {"weight_map": dict(zip(names, files, strict=True))})
    two = TensorFolder(tmp_path / "two")
    assert two.names != one.names
    single, several = (cuts_of(Pair(base, ft, "transformer"), "relative", [50, 75]) for ft in (one, two))
    assert single == several and (single[0].last, single[0].end) == ("layers.10.w", 4)
