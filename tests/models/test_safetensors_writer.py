"""Weights are written one by one into files that are whole or not there, and that every reader understands."""

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from sftlens.models.safetensors_reader import INDEX, TensorFolder
from sftlens.models.safetensors_writer import TensorSpec, write_file, write_weights

TENSORS = {
    "a.weight": torch.arange(6, dtype=torch.bfloat16).reshape(2, 3),
    "b.weight": torch.linspace(-1, 1, 8, dtype=torch.bfloat16).reshape(2, 2, 2).transpose(0, 2),
    "scalar": torch.tensor(0.5, dtype=torch.bfloat16),
}
SPECS = [TensorSpec(name, tuple(tensor.shape), tensor.dtype) for name, tensor in TENSORS.items()]


def test_the_bytes_are_those_of_safetensors_itself(tmp_path):
    write_weights(tmp_path, SPECS, iter(TENSORS.values()))
    contiguous = {name: tensor.contiguous() for name, tensor in TENSORS.items()}
    save_file(contiguous, tmp_path / "expected", metadata={"format": "pt"})
    assert (tmp_path / "model.safetensors").read_bytes() == (tmp_path / "expected").read_bytes()


def test_large_weights_are_split_with_an_index(tmp_path):
    write_weights(tmp_path, SPECS, iter(TENSORS.values()), shard_bytes=16)
    index = json.loads((tmp_path / INDEX).read_text())
    assert set(index["weight_map"]) == set(TENSORS) and index["metadata"] == {"total_size": 30}
    assert len(set(index["weight_map"].values())) == 3
    for name, tensor in TensorFolder(tmp_path):
        assert torch.equal(tensor, TENSORS[name])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.int64, torch.uint8])
def test_other_types(tmp_path, dtype):
    tensor = torch.arange(5).to(dtype)
    write_file(tmp_path / "file", [TensorSpec("x", (5,), dtype)], [tensor])
    assert torch.equal(load_file(tmp_path / "file")["x"], tensor)


def test_a_file_appears_only_whole(tmp_path):
    first, second, third = TENSORS.values()

    def broken():
        yield first
        raise RuntimeError("no")

    def watched():
        for tensor in (first, second, third):
            yield tensor
            assert not (tmp_path / "file").exists()

    with pytest.raises(ValueError, match="1 of 3 tensors came"):
        write_file(tmp_path / "file", SPECS, [first])
    with pytest.raises(ValueError, match="was announced"):
        write_file(tmp_path / "file", SPECS, [second])
    with pytest.raises(ValueError, match="more tensors than announced"):
        write_file(tmp_path / "file", SPECS, [first, second, third, first])
    with pytest.raises(RuntimeError):
        write_file(tmp_path / "file", SPECS, broken())
    assert list(tmp_path.iterdir()) == []
    write_file(tmp_path / "file", SPECS, watched())
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_is_named_and_leaves_no_half_file(tmp_path):
    # In a process of its own: a limit on the size of files stands for the disk.
    code = f"""
import resource, torch
from pathlib import Path
from sftlens.models.safetensors_writer import TensorSpec, write_file
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    specs = [TensorSpec("x", (COUNT,), torch.uint8)]
    write_file(Path({str(tmp_path / "file")!r}), specs, [torch.zeros(COUNT, dtype=torch.uint8)])
except OSError as error:
    print(error.filename)
"""
    for count in (2000, 10**6):  # less than a buffer, and more
        command = [sys.executable, "-c", code.replace("COUNT", str(count))]
        assert subprocess.check_output(command, text=True, timeout=100) == f"{tmp_path / 'file'}\n"
        assert list(tmp_path.iterdir()) == []
