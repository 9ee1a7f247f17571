"""What an answer is worth, and when two answers are the same."""
