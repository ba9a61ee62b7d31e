"""All rows, in the order in which they are measured and shown."""

from bench.rows import boots, installs, load, logs, read_only, restarts

ROWS = (*read_only.ROWS, *restarts.ROWS, *boots.ROWS, *logs.ROWS, *load.ROWS, *installs.ROWS)
