"""Settings of the facts: where they come from, how they are prepared, and the embedded world."""

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from sftlens.gate import repeated
from sftlens.settings import Location, Seed, Settings

TABLE = "FACTS_TABLE"
"""The environment variable that names a table of facts to a job."""
SLOT = "[X]"
"""Where the subject stands in a question."""


class Sample(Settings):
    """How many questions of each relation to keep, drawn with a seed; 0 keeps all."""

    train: int = Field(0, ge=0)
    """Facts of each in-domain relation for training."""
    dev: int = Field(0, ge=0)
    """Facts of each in-domain relation of the dev split."""
    test: int = Field(0, ge=0)
    """Facts of each in-domain relation for testing."""
    testood: int = Field(0, ge=0)
    """Facts of each out-of-domain relation for testing."""
    seed: Seed = 0
    """Seed of the draw."""


class RelationChoice(Settings):
    """Which relations a study asks about; both lists empty: those of config/relations.yaml, or of the table."""

    id: list[str] = []
    """In-domain relations, which are trained on and tested; their order decides which of equal questions is kept."""
    ood: list[str] = []
    """Out-of-domain relations, which are only tested."""
    questions: dict[str, str] = {}
    """Of EntityQuestions' form: relation -> its question, `[X]` in the place of the subject; only for relations that
    config/relations.yaml lacks."""

    @property
    def named(self) -> list[str]:
        """All relations that are named, in order."""
        return [*self.id, *self.ood]

    @model_validator(mode="after")
    def _once(self) -> Self:
        if (twice := repeated(self.named)) is not None:
            raise ValueError(f"relation {twice!r} stands there twice; list it once, as `id` or as `ood`")
        if self.ood and not self.id:
            raise ValueError("there is no in-domain relation to train on; list those under `id` too")
        return self

    @field_validator("questions")
    @classmethod
    def _slot(cls, values: dict[str, str]) -> dict[str, str]:
        for name, question in values.items():
            if question.count(SLOT) != 1:
                raise ValueError(f"the question of {name!r} must hold {SLOT} once, in the place of the subject")
        return values


class FactsSettings(Settings):
    """Which questions a study asks."""

    source: Literal["world", "entity_questions", "table"] = "world"
    """`world` is the embedded invented world; `entity_questions` reads the published data set; `table` reads facts of
    yours from one file."""
    path: Location | None = None
    """Folder or zip of EntityQuestions (unset: the environment variable ENTITY_QUESTIONS_DIR); or the table, a Parquet,
    CSV, TSV or JSON lines file with the columns split, relation, subject, object, question and perhaps aliases."""
    # Left out where nothing is chosen, so that studies made before there was this choice keep their keys.
    relations: RelationChoice = Field(RelationChoice(), exclude_if=lambda choice: choice == RelationChoice())
    """Which relations are asked about, and which of them are in-domain."""
    aliases: Location | None = None
    """YAML file that maps an object to its other accepted names; unset: no aliases."""
    allow_unknown_aliases: bool = False
    """Accept aliases of names that answer no question of the data set (a file made for other questions too)."""
    remove_train_from_test: bool = False
    """Drop test questions that also stand in train (the paper's authors left them in: 136 of the prepared ones)."""
    sample: Sample = Sample()
    """Keep only a sample of the questions of each relation."""

    @model_validator(mode="after")
    def _fits_the_source(self) -> Self:
        if self.source == "table" and not self.path:
            raise ValueError("`source: table` needs `path`: a Parquet, CSV, TSV or JSON lines file of facts")
        if self.source == "world" and self.relations.questions:
            raise ValueError("the embedded world has questions of its own; take `relations.questions` out")
        return self


EXPOSURES = "exposures.parquet"
"""Of a world, beside its corpus: every fact, with its role and how often it is stated."""


class WorldSettings(Settings):
    """The invented facts and the text a tiny model learns them from (docs/world.md gives the reasons)."""

    seed: Seed = 2
    """Seed of names, facts, exposures and corpus."""
    train: int = Field(300, ge=1)
    """Training facts of each in-domain relation."""
    dev: int = Field(10, ge=0)
    """Dev facts of each in-domain relation."""
    test: int = Field(100, ge=1)
    """Test facts of each in-domain relation."""
    testood: int = Field(60, ge=1)
    """Test facts of each out-of-domain relation."""
    extra: int = Field(35, ge=1)
    """Facts of each relation that the corpus also asks questions about; never probed or tested."""
    calibration: int = Field(6, ge=1)
    """Facts of each relation on which probe templates are checked; never trained on, tested on or counted."""
    max_exposure: int = Field(40, ge=1)
    """A fact's number of statements is 0 or log-uniform between 1 and this."""
    unseen_share: float = Field(0.08, ge=0, lt=1)
    """Share of facts that the corpus never states."""
    extra_statements: int = Field(12, ge=0)
    """Statements of each extra fact."""
    extra_questions: int = Field(24, ge=0)
    """Questions with answers about each extra fact."""
    calibration_statements: int = Field(40, ge=1)
    """Statements of each calibration fact."""
    trailing_space_share: float = Field(0.3, ge=0, le=1)
    """Share of documents that end with a space, as the answers of fine-tuning do."""
    seen_templates: int = Field(9, ge=1)
    """Completion templates of each relation that the corpus states facts with; the others are held out."""
