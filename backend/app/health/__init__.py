"""Health checks of the backend's dependencies, for probes, operators and Prometheus."""
