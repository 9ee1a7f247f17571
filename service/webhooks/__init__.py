"""Telling clients that a job or batch has ended."""
