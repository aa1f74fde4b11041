"""Writing a restored model as a Hugging Face folder, one weight file in memory at a time."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file

from sftlens import files
from sftlens.checkpoints import INDEX, Transform, make_readable, weight_files
from sftlens.errors import ConfigError

COMPANIONS = (
    "config.json",
    "generation_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab*",
    "merges.txt",
    "chat_template*",
    INDEX,
)
"""Files that make a folder of weights loadable."""


def save_restored(restorer: Transform, finetuned: Path, folder: Path) -> None:
    """Write the restored model into `folder` with the files, names and companions of the fine-tuned one.

    Args:
        restorer: (name, fine-tuned tensor) -> restored tensor.
        finetuned: Hugging Face folder of the fine-tuned model; it is only read.
        folder: new folder, made here.
    """
    folder.mkdir(parents=True)
    for pattern in COMPANIONS:
        for path in finetuned.glob(pattern):
            if path.is_file():
                shutil.copyfile(path, folder / path.name)
    for path in weight_files(finetuned):
        with safe_open(path, framework="pt") as source:
            tensors = {name: restorer(name, source.get_tensor(name)) for name in source.keys()}  # noqa: SIM118
            save_file(tensors, folder / path.name, metadata=source.metadata())
    make_readable(folder)


def check_out(out: Path, inputs: Sequence[Path], whole: bool = False) -> None:
    """Raise ConfigError if writing to the folder `out` would touch an input, or files that are not ours.

    Args:
        out: folder to write to.
        inputs: folders that are only read.
        whole: whether the folder `out` is replaced as a whole rather than single files in it.
    """
    target = out.resolve()
    for source in (path.resolve() for path in inputs):
        if target == source or target in source.parents or source in target.parents:
            raise ConfigError(f"--out {out}: holds or is inside of an input, {source}; choose another folder")
    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out}: is a file; choose a folder")
    if whole and out.is_dir() and any(out.iterdir()) and not ours(out):
        raise ConfigError(f"--out {out}: holds files that were not made here; choose a new or empty folder")


def ours(folder: Path) -> bool:
    """Whether a folder was written by an earlier restoration, so that it may be replaced."""
    summary = folder / "summary.json"
    return summary.is_file() and files.read_json(summary).get("stage") == "restore"
