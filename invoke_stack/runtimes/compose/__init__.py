"""The runtime `compose`: Docker Compose on one engine."""
