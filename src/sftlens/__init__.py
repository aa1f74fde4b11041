"""What supervised fine-tuning does to what a language model knows, measured and undone."""

__version__ = "0.1.0"
