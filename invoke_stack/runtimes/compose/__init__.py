"""The `compose` runtime: Docker Compose on one engine."""
