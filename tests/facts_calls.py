"""Loading the facts of an EntityQuestions folder, and the message of a refusal, for tests."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sftlens.config.stages.data import FactsSettings
from sftlens.data import facts
from sftlens.errors import DataError


def settings(**values: Any) -> FactsSettings:
    return FactsSettings(source="entity_questions", **values)


def load(folder: Path, **values: Any) -> pd.DataFrame:
    return facts.load(settings(path=str(folder), **values))


def refusal(folder: Path, **values: Any) -> str:
    with pytest.raises(DataError) as caught:
        load(folder, **values)
    return str(caught.value)
