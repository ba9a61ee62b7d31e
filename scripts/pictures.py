"""Makes the pictures of the README: real verbs on a real stack of the `local` runtime, as SVG.

    python scripts/pictures.py

For maintainers, on Linux or macOS with tmux, in a checkout whose stack is down. What a verb shows is
taken from a real terminal, so a picture cannot show what the verb does not.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "pictures"
WIDTH, HEIGHT = 80, 60
PATIENCE = 180  # seconds for one verb

# Readable on a light page and on a dark one.
NORMAL = "464856 f07178 98c379 e5c07b 61afef c678dd 56b6c2 dcdfe4"
BRIGHT = "7f848e ff878c aad78c f5d28c 78beff d78ceb 6ecdd7 ffffff"


def colours(text: str) -> list[tuple[int, int, int]]:
    return [(each[0], each[1], each[2]) for each in map(bytes.fromhex, text.split())]


THEME = TerminalTheme((26, 27, 38), (220, 223, 228), colours(NORMAL), colours(BRIGHT))

# Rich's own frame, without the font that it would load from elsewhere.
FRAME = """\
<svg class="{unique_id}" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, monospace; font-size: {char_height}px; line-height: {line_height}px; }}
.{unique_id}-title {{ font-family: sans-serif; font-size: 18px; font-weight: bold; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/></clipPath>{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">{matrix}</g>
</g>
</svg>
"""

# A revision that fails as they do in life, and little patience with it.
BROKEN = ROOT / "alembic" / "versions" / "0004_shinvoke_stack.py"
REVISION = """
from alembic import op

revision = "0004_shops"
down_revision = "0003_deals_newest"


def upgrade() -> None:
    op.execute("ALTER TABLE deals ADD COLUMN shop bigint REFERENCES shops")
"""
IMPATIENT = {"MIGRATE_DELAYS": "1 1"}


def main() -> int:
    FOLDER.mkdir(exist_ok=True)
    try:
        draw("up", "up --runtime local")
        draw("restart", "restart-backend")
        draw("status", "status")
        draw("logs", "logs backend,worker --tail 12")
        BROKEN.write_text(REVISION, "utf-8")
        inv("up", code=3, **IMPATIENT)
        draw("degraded", "restart-backend --no-logs", IMPATIENT)
        draw("doctor", "doctor", IMPATIENT)
    finally:
        BROKEN.unlink(missing_ok=True)
        inv("up")
        inv("down")
    return 0


def inv(*words: str, code: int = 0, **variables: str) -> None:
    """Run a verb that ends with this exit code."""
    command = [sys.executable, "-m", "invoke", *words, "--runtime", "local"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | variables)
    if done.returncode != code:
        raise SystemExit(f"inv {' '.join(words)} ended with {done.returncode}, not {code}")


def shown(words: str, variables: Mapping[str, str]) -> str:
    """What a terminal of its own shows once a verb has ended, as ANSI text."""
    with tempfile.TemporaryDirectory() as folder:
        ended = Path(folder) / "ended"
        script = f"clear; {sys.executable} -m invoke {words}; touch {ended}; read x"
        tmux = ("tmux", "-S", f"{folder}/tmux")
        settings = [word for name, value in variables.items() for word in ("-e", f"{name}={value}")]
        size = ("-x", str(WIDTH), "-y", str(HEIGHT))
        start = [*tmux, "new-session", "-d", *size, *settings, "-c", str(ROOT), script]
        subprocess.run(start, check=True)
        try:
            until = time.monotonic() + PATIENCE
            while not ended.exists():
                if time.monotonic() > until:
                    raise SystemExit(f"inv {words} did not end within {PATIENCE} s")
                time.sleep(0.1)
            capture = [*tmux, "capture-pane", "-e", "-p"]
            return subprocess.run(capture, check=True, capture_output=True, text=True).stdout
        finally:
            subprocess.run([*tmux, "kill-server"], check=False)


def draw(name: str, words: str, variables: Mapping[str, str] = {}) -> None:
    """Write what a verb shows as docs/pictures/NAME.svg."""
    text = Text.from_ansi(shown(words, variables).rstrip())
    with Path(os.devnull).open("w") as nowhere:
        console = Console(file=nowhere, record=True, width=WIDTH, force_terminal=True)
        console.print(text, soft_wrap=False)
        svg = console.export_svg(
            title=f"inv {words}", theme=THEME, code_format=FRAME, unique_id=name
        )
    (FOLDER / f"{name}.svg").write_text(svg, "utf-8")


if __name__ == "__main__":
    sys.exit(main())
