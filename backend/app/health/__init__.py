"""Whether the backend has what it needs, for probes, operators and Prometheus."""
