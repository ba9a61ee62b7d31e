"""Renders the model for a terminal. Reads no input, and prints only to the console it is given."""
