"""Fetching a model from the hub: what is fetched, and what to do where it is not to be had."""

from pathlib import Path

from sftlens.errors import ModelError, explained

PATTERNS = ["*.json", "*.safetensors", "tokenizer.model"]
"""Files of a model; nothing that would have to be unpickled or run."""
FOLDER = "or fetch the model where that works and name its folder (`source: path`, `path: DIR`)"
REMEDIES = {
    "access": f"accept its licence on the hub and log in with an account that may read it (`hf auth login`), {FOLDER}",
    "model": "correct `path` (a private model looks the same: log in with `hf auth login`)",
    "revision": "correct `revision`: the commit of this model, 40 hexadecimal digits",
    "offline": f"unset HF_HUB_OFFLINE, {FOLDER}",
    "token": "HF_TOKEN, or the token that is stored, is none: unset it and log in (`hf auth login`)",
    "network": f"the hub cannot be reached or is busy: try again, {FOLDER}",
}


def fetch(path: str, revision: str | None, name: str) -> Path:
    """Return the local folder of a model id at its revision, fetched if it is not there.

    Args:
        path: model id on the hub.
        revision: commit.
        name: the model's name in the configuration, for messages.

    Raises:
        ModelError: it cannot be had; the message says why and never holds what the hub or the environment told us,
            so that no token can stand in it.
        OSError: the disk is full or read-only.
    """
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(path, revision=revision, allow_patterns=PATTERNS))
    except Exception as error:
        if isinstance(error, OSError) and explained(error):
            raise
        kind, remedy = type(error).__name__, REMEDIES[_reason(error)]
        place = f"models.{name}: {path} at {revision}"
        # The error itself may hold headers of the request.
        raise ModelError(f"{place} cannot be fetched from the hub ({kind}); {remedy}") from None


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
