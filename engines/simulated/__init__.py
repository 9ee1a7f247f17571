"""A simulated world in place of a model: problems, solutions, rewards, and a server that speaks vLLM's protocol."""
