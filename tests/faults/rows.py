"""The faults that the stack has to survive; the test of F1 is called `test_f01_…`."""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """A fault, and what must hold during and after it."""

    fault: str
    bound: str


ROWS = {
    "F1": Row(
        "SIGSTOP every Postgres process while serving",
        "`/health` 503 in ≤ 2 s, 100 of 100 probes; 200 within 10 s of SIGCONT; `/live` 200 throughout",
    ),
    "F2": Row(
        "Postgres stopped (SIGSTOP) before boot",
        "wait bounded to 60 s, each attempt bounded; the startup responder answers throughout; degraded start",
    ),
    "F3": Row(
        "Redis SIGSTOPped, or `DEBUG SLEEP 30`",
        "`/health` 503 in ≤ 2 s, `redis` false, `queue_depth` null",
    ),
    "F4": Row(
        "packets to 5432 dropped (network namespace or iptables in the container)",
        "503 in ≤ 2 s; boot wait 60 s",
    ),
    "F5": Row(
        "40+ requests blocked in sync endpoints",
        "`/health` ≤ 1 s",
    ),
    "F6": Row(
        "1,000 `/health` requests a second for 30 s",
        "no errors; at most about one database check per cache lifetime",
    ),
    "F7": Row(
        "a migration that runs 20 s under ACCESS EXCLUSIVE on every table",
        "`/health` 200 with `phase` migrating on first boot; on a running app, 200 in ≤ 1 s",
    ),
    "F8": Row(
        "5 entrypoints at once on an empty database, 20 rounds",
        "no error; each revision applied exactly once",
    ),
    "F9": Row(
        "the same with a `CREATE INDEX CONCURRENTLY` revision",
        "no deadlock, no invalid index",
    ),
    "F10": Row(
        "`kill -9` of Alembic during a migration",
        "schema unchanged, lock released in ≤ 5 s, the next attempt succeeds",
    ),
    "F11": Row(
        "another session holds ACCESS EXCLUSIVE on a table to be altered",
        "lock error within `lock_timeout`; other queries not blocked longer; retried",
    ),
    "F12": Row(
        "syntax error, two heads, missing revision",
        "six attempts with their delays, then degraded start; `/ready` 503, `migrations` failed; the log names the cause once, clearly",
    ),
    "F13": Row(
        "the database comes back after a degraded start",
        "schema migrated without a restart, `/ready` 200",
    ),
    "F14": Row(
        "SIGTERM in each phase: DB wait, every sleep, alembic, serving",
        "exit ≤ 2 s (alembic and serving ≤ 10 s), code 143 or 0, no orphan",
    ),
    "F15": Row(
        "`ALEMBIC_CMD` empty, unknown binary, quoted arguments, `; touch pwned`",
        "documented outcome each; no file `pwned`",
    ),
    "F16": Row(
        "PORT in use, `abc`, 70000",
        "one-line error, non-zero in ≤ 2 s",
    ),
    "F17": Row(
        "Uvicorn killed with SIGKILL",
        "restarted by the runtime; `restarts` counts it; `inv health` reports healthy again in ≤ 15 s",
    ),
    "F18": Row(
        "Uvicorn SIGSTOPped (hung)",
        "the watchdog kills it after `LIVE_RESTART_AFTER`; healthy again",
    ),
    "F19": Row(
        "database down longer than `HEALTH_RESTART_AFTER`",
        "one restart, then a doubled limit; healthy again once the database is back",
    ),
    "F20": Row(
        "checkout with CRLF and without the executable bit",
        "the container boots",
    ),
    "F21": Row(
        "arbitrary uid, read-only root, no capabilities",
        "boots, serves",
    ),
    "F22": Row(
        "container killed, out of memory",
        "`inv status` and `inv doctor` report it; healthy again",
    ),
    "F23": Row(
        "10 restarts while `inv logs --follow`",
        "every line exactly once, in order",
    ),
    "F24": Row(
        "`dockerd` restarts under `inv logs --follow`",
        "a notice, reconnects, no line lost",
    ),
    "F25": Row(
        "1 GB of log, `--tail 100`",
        "≤ 2 s, memory ≤ 150 MB",
    ),
    "F26": Row(
        "invalid UTF-8, characters split between chunks, TTY containers, escape sequences in log lines",
        "no exception; terminal escapes neutralised",
    ),
    "F27": Row(
        "a container that ignores SIGTERM",
        "restart still ends with a verdict, no client timeout",
    ),
    "F28": Row(
        "engine socket missing, not permitted, wrong context",
        "if Compose is required (by `--runtime`, the last `up`, `DOCKER_HOST` or `DOCKER_CONTEXT`): exit 4 in ≤ 2 s, with a fix",
    ),
    "F29": Row(
        "container stopped by hand, then a restart of `dockerd`",
        "stays stopped",
    ),
    "F30": Row(
        "`kill -9` of the worker during a task; two beats",
        "task redelivered within 120 s (after the visibility timeout of 100 s; Celery's default is an hour); one schedule",
    ),
    "F31": Row(
        "a sentinel password through every path: logs, health, metrics, errors, `--debug`, process list",
        "zero occurrences",
    ),
    "F32": Row(
        "Ctrl-C in every verb",
        "exit 130 without traceback, terminal restored",
    ),
    "F33": Row(
        "`WEB_CONCURRENCY=2`, or `--workers 2` in `UVICORN_CMD`",
        '1,000 of 1,000 requests answered by the application; `/ready` never flaps; `/metrics` counts all workers; restart and SIGTERM as with one worker. In `UVICORN_CMD`, `$PORT` and `${PORT}` are replaced (nothing else), and `--port $PORT` restarts without "port in use"',
    ),
    "F35": Row(
        "engine on another machine (`tcp://`, `ssh://`, a context) or in another network namespace, while another program answers on 127.0.0.1:PORT here, and the remote database is stopped",
        "health is checked where the service runs; the decoy is never contacted; `ssh://` works with what we install, or one line says what is missing",
    ),
    "F36": Row(
        "images built, then the base images deleted and the registry unreachable",
        "the Compose stack with its data; `auto` never starts an empty stack while another one of this project exists",
    ),
    "F39": Row(
        "two checkouts with the same folder name on one engine",
        "refused (exit 4) with the other folder's path and a fix that deletes"
        " nothing; a checkout that was moved (on this machine's engine, the other folder is gone) gets"
        " a message that says so, with the `COMPOSE_PROJECT_NAME=…` line for `.env` that adopts the"
        " stack",
    ),
    "F41": Row(
        "deployed through a symbolic link (`current -> releases/42`)",
        "the same project name and volumes as `docker compose` in that folder",
    ),
    "F42": Row(
        "containers of another Compose file in the same folder",
        "never removed without `--remove-orphans`; listed first",
    ),
    "F44": Row(
        "Python or the lock changed, no network, while the local stack runs from `.venv`",
        "the old environment stays until the new one is complete",
    ),
    "F45": Row(
        "`inv logs --grep TEXT` after hundreds of other lines",
        "the last 100 *matches*",
    ),
    "F50": Row(
        "`--since 2026-11-25T14:00` in Berlin, `2026-11-25`, Unix seconds, `1h30m`",
        "as `docker logs`: local time without an offset",
    ),
    "F59": Row(
        "the output of a command piped into `head -1`",
        "no traceback; a reading command ends with 0, a changing one completes and keeps its code",
    ),
}

# Rows that no test can inject on this machine, with the reason for the table.
NOT_INJECTED: dict[str, str] = {}
