"""The settings of each stage, which the stage itself reads; below all rooms but `settings` and the tasks."""
