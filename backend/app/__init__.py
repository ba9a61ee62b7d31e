"""Deal Scout's backend: the API, the worker and beat."""

VERSION = "0.1.0"
