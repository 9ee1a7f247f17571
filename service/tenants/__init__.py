"""Tenants: who asks, what they may spend, and what they have spent."""
