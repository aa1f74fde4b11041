"""The settings of each stage, one small file a stage: a job is given the settings its result depends on, no others."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Base of all settings: immutable, strict, with a docstring per field."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, use_attribute_docstrings=True)
