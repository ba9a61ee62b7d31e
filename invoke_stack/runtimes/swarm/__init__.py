"""The `swarm` runtime: services on the nodes of a Docker Swarm."""
