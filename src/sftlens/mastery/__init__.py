"""How well a base model masters each fact (paper section 2): model, facts, templates -> mastery, bucket."""
