"""The rows, in the order in which they are measured and shown."""

from bench.rows import boots, installs, load, logs, looks, restarts

ROWS = (*looks.ROWS, *restarts.ROWS, *boots.ROWS, *logs.ROWS, *load.ROWS, *installs.ROWS)
