"""The base of all settings, and how a path that a user gives is understood."""

import os
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

SHIPPED = (Path(__file__).parent / "shipped" / "Snakefile").resolve().parent
"""The folder of Snakefile, config/, profiles/, scripts/: in a clone its root, else inside of the installed package."""


def found(path: str) -> str:
    """Return a path with `~` expanded; one that exists only among the files that come with sftlens, with its place."""
    path = os.path.expanduser(path)
    shipped = path.startswith(("config/", "profiles/")) and not os.path.exists(path) and (SHIPPED / path).exists()
    return str(SHIPPED / path) if shipped else path


Location = Annotated[str, AfterValidator(found)]
"""The type of a field that holds a path."""


class Settings(BaseModel):
    """Base of all settings: immutable, without unknown keys, with a docstring per field."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, use_attribute_docstrings=True)
