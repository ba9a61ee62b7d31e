"""The `local` runtime: PostgreSQL, Valkey and the application under supervisord, without Docker."""
