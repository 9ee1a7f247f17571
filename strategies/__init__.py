"""How a budget is spent: one algorithm, one file."""
