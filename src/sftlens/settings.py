"""The settings of each stage, one small file a stage, so that a job is given no others than its own."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Base of all settings: immutable, without unknown keys, with a docstring per field."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, use_attribute_docstrings=True)
