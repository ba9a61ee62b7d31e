"""The verbs: each parses its arguments, calls a command, and shows the result."""
