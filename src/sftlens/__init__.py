"""What supervised fine-tuning does to what a language model knows, measured and undone."""

from sftlens import earlier_names

__version__ = "0.1.0"

earlier_names.install()
