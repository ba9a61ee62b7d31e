"""The start of the backend, until the application serves."""
