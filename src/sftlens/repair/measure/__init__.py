"""What is measured of the models of a check or repair."""
