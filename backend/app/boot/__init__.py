"""The boot of the backend, until the application serves."""
