"""The base of all settings, and how a path that a user gives is understood."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

SHIPPED = (Path(__file__).parent / "shipped" / "Snakefile").resolve().parent
"""The folder of Snakefile, config/, profiles/, scripts/: in a clone its root, else inside of the installed package."""


def shipped(path: str) -> Path | None:
    """Return the place of a file that exists only among those that come with sftlens; None for any other path."""
    ours = path.startswith(("config/", "profiles/")) and not os.path.exists(path) and (SHIPPED / path).exists()
    return SHIPPED / path if ours else None


def found(path: str) -> str:
    """Return a path with `~` expanded, or the place of one that comes with sftlens."""
    return str(shipped(path) or os.path.expanduser(path))


def tell_shipped(what: str, value: object) -> None:
    """Say on stderr where what was given is a file that comes with sftlens, for want of one in the working folder."""
    if isinstance(value, str) and (place := shipped(value)):
        print(f"notice: {what}: {value} is not in the working folder; {place}, which comes with sftlens, is taken",
              file=sys.stderr)  # fmt: skip


LARGEST = 10**12
"""The largest number of anything but a seed: more of it nobody has, and arrays of such sizes overflow."""
Seed = Annotated[int, Field(ge=0, le=10**18)]
"""The type of a field that holds a seed: what NumPy and torch take."""
Location = Annotated[str, AfterValidator(found)]
"""The type of a field that holds a path."""


class Settings(BaseModel):
    """Base of all settings: immutable, without unknown keys, with a docstring per field."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_value(cls, value: Any, field: ValidationInfo) -> Any:
        """Refuse YAML's `yes`, `on` and `true` where a number or text is due; pydantic would take them for 1."""
        kind = cls.model_fields[field.field_name or ""].annotation
        given = value if isinstance(value, list) else [value]
        if bool not in (kind, *get_args(kind)) and any(isinstance(entry, bool) for entry in given):
            raise ValueError("a truth value (true, yes, on, ...) is no value here; write a number, or text in quotes")
        return value

    @field_validator("*", mode="after")
    @classmethod
    def _in_bounds(cls, value: Any, field: ValidationInfo) -> Any:
        """Refuse whole numbers beyond LARGEST, of which only a seed may be one."""
        if isinstance(value, int) and value > LARGEST and "seed" not in (field.field_name or ""):
            raise ValueError(f"Input should be at most {LARGEST:,}")
        return value
