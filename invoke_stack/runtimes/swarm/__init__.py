"""The runtime `swarm`: services on the nodes of a swarm."""
