"""Deals, the tables they are in, and the feeds they come from."""
