"""The runtime `local`: PostgreSQL, Valkey and the application under a supervisor, without Docker."""
