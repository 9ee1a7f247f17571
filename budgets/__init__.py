"""What compute costs and what it buys."""
