"""Many requests in one file, run as jobs of low priority, with their results in one file."""
