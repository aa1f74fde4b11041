"""What a repair says of its result: page, figure, tables and card."""
