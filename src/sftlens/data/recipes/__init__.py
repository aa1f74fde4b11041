"""Training sets of one's own, made of parts (config/stages/recipes): the rows a part can take, and their order."""
