"""A model is partitioned while it loads: the same weights, the same refusals, and no process ever holds all of it."""

import ctypes
import json
import math
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

import process_groups
from sftlens import strategies
from sftlens.config.stages.training import FinetuneSettings
from sftlens.errors import ModelError
from sftlens.models import checkpoints
from sftlens.models.delta import packing
from sftlens.training import deepspeed_engine, export, loop
from sftlens.training.deepspeed_config import engine_config
from sftlens.training.deepspeed_engine import DTYPES
from sftlens.training.zero3_loading import load_partitioned
from tiny import CLASSES, tiny_model

MMAP_THRESHOLD = -3  # glibc's M_MMAP_THRESHOLD
NAME = "model.layers.1.mlp.up_proj.weight"
STAGE_3 = {dtype: FinetuneSettings(zero_stage=3, dtype=dtype) for dtype in ("float32", "bfloat16")}


def load(folder: Path, dtype: str = "float32") -> dict[str, torch.Tensor]:
    """Weights and buffers of a model that was loaded in parts, gathered again."""
    import deepspeed

    with deepspeed_engine.process_group() as process:
        model = load_partitioned(folder, DTYPES[dtype], engine_config(STAGE_3[dtype], 8, 1), process.rank)
        found = dict(model.named_buffers())
        for name, parameter in model.named_parameters():
            with deepspeed.zero.GatheredParameters(parameter):
                found[name] = parameter.detach().clone()
    return found


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("arch", CLASSES)
def test_it_loads_what_the_ordinary_way_loads(tmp_path, arch, tied):
    tiny_model(tmp_path, arch, tied=tied, shard_size="20KB")
    for dtype in STAGE_3:
        whole = checkpoints.load_model(tmp_path, dtype=DTYPES[dtype], device="cpu")
        expected = {**dict(whole.named_buffers()), **{name: p.detach() for name, p in whole.named_parameters()}}
        found = load(tmp_path, dtype)
        assert set(found) == set(expected)
        assert all(found[n].dtype == expected[n].dtype and torch.equal(found[n], expected[n]) for n in expected)


def test_it_loads_a_delta(tmp_path):
    tiny_model(tmp_path / "base")
    tiny_model(tmp_path / "tuned", seed=1)
    packing.pack(tmp_path / "base", tmp_path / "tuned", tmp_path / "delta")
    found, expected = load(tmp_path / "delta"), load(tmp_path / "tuned")
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def edited(folder: Path, edit: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda t: t.pop(NAME), [NAME, "in none of the weight files", "the same revision"]),
        (lambda t: t.update(extra=torch.zeros(1)), ["'extra'", "unknown to the architecture"]),
        (lambda t: t.update({NAME: torch.zeros(3, 32)}), [NAME, "[3, 32]", "config.json asks for [48, 32]"]),
        (lambda t: t[NAME].view(-1)[5:6].fill_(math.nan), [NAME, "NaN or Inf", "fetch it again"]),
        (lambda t: t.update({NAME: t[NAME].to(torch.int32)}), [NAME, "stored as I32", "bfloat16 or float32"]),
    ],
)
def test_wrong_tensors_are_refused(tmp_path, edit, words):
    tiny_model(tmp_path)
    edited(tmp_path, edit)
    with pytest.raises(ModelError) as caught:
        load(tmp_path)
    assert [word for word in words if word not in str(caught.value)] == []


def test_two_output_layers_for_one_are_refused_and_rotary_buffers_ignored(tmp_path):
    tiny_model(tmp_path, tied=True)
    edited(tmp_path, lambda t: t.update({"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}))
    edited(tmp_path, lambda t: t.update({"lm_head.weight": t["model.embed_tokens.weight"].clone()}))
    assert len(load(tmp_path)) == len(load_file(tmp_path / "model.safetensors")) - 2 + 2
    edited(tmp_path, lambda t: t["lm_head.weight"].add_(1))
    with pytest.raises(ModelError, match="tie_word_embeddings is true"):
        load(tmp_path)


class Peak:
    """Largest growth of this process' own memory (bytes, files that it maps left out) while the block runs."""

    def __enter__(self):
        self.bytes, self._over, start = 0, threading.Event(), self._now()

        def watch():
            while not self._over.wait(0.001):
                self.bytes = max(self.bytes, self._now() - start)

        self._thread = threading.Thread(target=watch)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    @staticmethod
    def _now():
        _, resident, shared, *_ = Path("/proc/self/statm").read_text().split()
        return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")


def _measure(rank: int, folder: Path, out: Path) -> None:
    # What is freed goes back to the system at once, as it does for tensors of a large model (over 32 MB).
    ctypes.CDLL(None).mallopt(MMAP_THRESHOLD, 1 << 16)
    settings = STAGE_3["float32"]
    with deepspeed_engine.process_group() as process:
        with Peak() as loading:
            model = load_partitioned(folder, torch.float32, engine_config(settings, 8, 1), process.rank)
        del model
        engine = loop._engine(folder, settings, process, strategies.make(strategies.DEFAULT))
        with Peak() as writing:
            export.write_model(engine, torch.float32, None, out / "model")
    (out / f"{rank}.json").write_text(json.dumps([loading.bytes, writing.bytes]))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_process_ever_holds_the_whole_model(tmp_path):
    config = LlamaConfig(hidden_size=512, intermediate_size=1376, num_hidden_layers=14, num_attention_heads=8)
    config.vocab_size = 2000
    LlamaForCausalLM(config).save_pretrained(tmp_path / "base")
    whole = (tmp_path / "base" / "model.safetensors").stat().st_size
    assert whole > 180e6
    assert process_groups.run(_measure, 2, tmp_path / "base", tmp_path) == [0, 0]
    for rank in range(2):
        loading, writing = json.loads((tmp_path / f"{rank}.json").read_text())
        assert 0.4 * whole < loading < 0.65 * whole  # its half, and some tensors
        assert writing < 0.1 * whole
    assert (tmp_path / "model" / "model.safetensors").stat().st_size == whole
