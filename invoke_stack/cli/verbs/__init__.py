"""The verbs: each parses its arguments, calls the command that does the work, and shows the result."""
