"""The grid of a study: its typed configuration, its cells, its paths. The only room that knows all axes."""
