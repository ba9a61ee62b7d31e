"""Deals, their tables and the feeds they come from."""
