"""Settings of checking a mastery measurement: how reliable it is, and what goes along with it."""

from pydantic import Field

from sftlens.settings import Settings


class QualitySettings(Settings):
    """How good the measurement of mastery is: probed twice, and against cheaper measures."""

    retest: int = Field(200, ge=0)
    """Facts (a fixed random sample) that are probed a second time, with other random numbers; 0 leaves this out."""
    answer_probability: bool = False
    """Also compute the teacher-forced probability of every fact's answer, and its calibration against mastery."""

    @property
    def tables(self) -> list[str]:
        """The tables that are made besides the summary; none where the model is asked nothing."""
        wanted = {"retest.parquet": self.retest > 0, "answer_probability.parquet": self.answer_probability}
        return [name for name, asked in wanted.items() if asked]
