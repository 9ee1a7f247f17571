"""The store: a Redis of the operator's, or one that the service runs itself."""
