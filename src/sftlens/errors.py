"""The errors a user can mend: every message names the file, the key and the remedy."""


class SftlensError(Exception):
    """Something the user gave us is wrong; the message says what to change."""


class ConfigError(SftlensError):
    """A key of the configuration is unknown, malformed or contradicts another one."""


class DataError(SftlensError):
    """A data file is missing, truncated or malformed."""


class TemplateError(SftlensError):
    """A completion template is missing or has no place for its subject."""


class ModelError(SftlensError):
    """A checkpoint or a tokenizer cannot be used as it is."""


class TrainingError(SftlensError):
    """Training cannot start or cannot go on."""
