"""Question sets: the one that comes with sftlens, and those that others have published."""
