"""Settings of the embedded world: its facts, how often each is stated, and the corpus made of them."""

from pydantic import Field

from sftlens.settings import Settings


class WorldSettings(Settings):
    """The invented facts and the text a tiny model learns them from (docs/world.md gives the reasons)."""

    seed: int = 2
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
