"""Fetching a model from the hub: what is fetched, and what to do where it is not to be had."""

import re
import sys
from contextlib import suppress
from pathlib import Path

from sftlens import files
from sftlens.errors import MENDED, ModelError

PATTERNS = ["*.json", "*.safetensors", "tokenizer.model", "chat_template.jinja"]
"""Files of a model; nothing that would have to be unpickled or run."""
LEFT = ["*/*", "consolidated*"]
"""What is not fetched all the same: other formats of the same weights, in folders of their own or beside them."""
CARD, CARDS = "README.md", "cards"
"""A model's card, and the folder of the user's cache that holds those of models from the hub."""
ID = re.compile(r"(?!\.)[\w.-]+/[\w.-]+(@[\w./-]+)?(?<!\.json)")
"""What is taken for an id on the hub where there is no such folder: `org/name`, with `@revision` if wanted."""
FOLDER = (
    "or fetch the model where that works and name its folder (`hf download {path} --local-dir DIR`; "
    "in a configuration `source: path`, `path: DIR`)"
)
REMEDIES = {
    "access": f"accept its licence on the hub and log in with an account that may read it (`hf auth login`), {FOLDER}",
    "model": "correct `path`, the id of the model (a private one looks the same: log in with `hf auth login`)",
    "revision": "correct `revision`: a commit of this model (40 hexadecimal digits), a branch or a tag",
    "offline": f"unset HF_HUB_OFFLINE, {FOLDER}",
    "token": "HF_TOKEN, or the token that is stored, is none: unset it and log in (`hf auth login`)",
    "network": f"the hub cannot be reached or is busy: try again, {FOLDER}",
}


def folder(name: str) -> Path:
    """Return the folder of a model as a user names it: a folder or pointer that exists, else an id on the hub.

    An id is fetched at its revision (`main` unless given); the commit that it stands for is printed on stderr. Raises
    what `fetch` does.
    """
    path = Path(name).expanduser()
    # `results/typo` is a path where there is a folder results/.
    if path.exists() or path.parent.is_dir() or not ID.fullmatch(name):
        return path
    model, _, revision = name.partition("@")
    found = fetch(model, revision or "main", "")
    print(f"{name}: commit {found.name} of the hub's {model}, in {found}", file=sys.stderr)
    return found


def fetch(path: str, revision: str | None, name: str) -> Path:
    """Return the local folder of a model id on the hub at its revision, fetched if it is not there.

    `revision` is a commit, or a branch or tag that stands for one: the folder is called after the commit. `name` is
    the model's name in the configuration, for messages; empty: it stood on the command line.

    Raises ModelError when it cannot be had; the message says why and never holds what the hub or the environment told
    us, so that no token can stand in it. Raises OSError when the disk is full or read-only.
    """
    from huggingface_hub import hf_hub_download, snapshot_download

    try:
        found = Path(snapshot_download(path, revision=revision, allow_patterns=PATTERNS, ignore_patterns=LEFT))
    except Exception as error:
        if isinstance(error, OSError) and error.errno in MENDED:
            raise
        kind, remedy = type(error).__name__, REMEDIES[_reason(error)]
        place = f"models.{name}: {path}" if name else f"{path}: there is no such folder, and the model"
        # The error itself may hold headers of the request.
        raise ModelError(
            f"{place} at {revision} cannot be fetched from the hub ({kind}); {remedy.format(path=path)}"
        ) from None
    # The model's card says its licence. It is no part of the model, so that it lies elsewhere; many models have none.
    with suppress(Exception):
        hf_hub_download(path, CARD, revision=found.name, cache_dir=files.cache_folder(CARDS))
    return found


def card(folder: Path) -> Path:
    """Return where the card of a model from the hub lies, if it has one; `folder` is what `fetch` returned."""
    return files.cache_folder(CARDS, *folder.parts[-3:], CARD)


def _reason(error: Exception) -> str:
    from huggingface_hub import errors

    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.GatedRepoError):
        return "access"
    if isinstance(error, (errors.RepositoryNotFoundError, errors.HFValidationError)):
        return "model"
    if status in (401, 403):
        return "access"
    if isinstance(error, errors.RevisionNotFoundError):
        return "revision"
    if isinstance(error, errors.OfflineModeIsEnabled):
        return "offline"
    return "token" if isinstance(error, UnicodeError) else "network"
