"""Decisions as pure functions on plain data."""
