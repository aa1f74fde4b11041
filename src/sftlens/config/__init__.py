"""The configuration of a study, typed and strict: YAML -> Study."""
