"""Create the screenshots of the README as SVG, from real verbs on a stack of the runtime `local`.

    python scripts/pictures.py

For maintainers, on Linux or macOS with tmux, in a checkout whose stack is down. The output is
captured from a real terminal.
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
WIDTH, HEIGHT = 80, 60  # of the terminal, in cells
TIMEOUT = 180  # seconds for one verb

# Colours that are readable on light and dark pages.
NORMAL = "464856 f07178 98c379 e5c07b 61afef c678dd 56b6c2 dcdfe4"
BRIGHT = "7f848e ff878c aad78c f5d28c 78beff d78ceb 6ecdd7 ffffff"


def colours(text: str) -> list[tuple[int, int, int]]:
    """Return the RGB values of hexadecimal colours."""
    return [(rgb[0], rgb[1], rgb[2]) for rgb in map(bytes.fromhex, text.split())]


THEME = TerminalTheme((26, 27, 38), (220, 223, 228), colours(NORMAL), colours(BRIGHT))

# Rich's own template, without the font that it would load from the web.
TEMPLATE = """\
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

# A revision that fails in a typical way, and few retries of it.
BROKEN = ROOT / "alembic" / "versions" / "0004_shops.py"
REVISION = """
from alembic import op

revision = "0004_shops"
down_revision = "0003_deals_newest"


def upgrade() -> None:
    op.execute("ALTER TABLE deals ADD COLUMN shop bigint REFERENCES shops")
"""
FEW_RETRIES = {"MIGRATE_DELAYS": "1 1"}


def main() -> int:
    """Write all pictures."""
    FOLDER.mkdir(exist_ok=True)
    try:
        draw("up", "up --runtime local")
        draw("restart", "restart-backend")
        draw("status", "status")
        draw("logs", "logs backend,worker --tail 12")
        BROKEN.write_text(REVISION, "utf-8")
        inv("up", code=3, **FEW_RETRIES)
        draw("degraded", "restart-backend --no-logs", FEW_RETRIES)
        draw("doctor", "doctor", FEW_RETRIES)
    finally:
        BROKEN.unlink(missing_ok=True)
        inv("up")
        inv("down")
    return 0


def inv(*arguments: str, code: int = 0, **variables: str) -> None:
    """Run a verb, which must end with the exit code `code`."""
    command = [sys.executable, "-m", "invoke", *arguments, "--runtime", "local"]
    result = subprocess.run(command, cwd=ROOT, env=os.environ | variables)
    if result.returncode != code:
        raise SystemExit(f"inv {' '.join(arguments)} ended with {result.returncode}, not {code}")


def capture_terminal(arguments: str, variables: Mapping[str, str]) -> str:
    """Run a verb in a new terminal; return the screen as ANSI text once the verb has ended."""
    with tempfile.TemporaryDirectory() as folder:
        ended = Path(folder) / "ended"
        script = f"clear; {sys.executable} -m invoke {arguments}; touch {ended}; read x"
        tmux = ("tmux", "-S", f"{folder}/tmux")
        settings = [part for name, value in variables.items() for part in ("-e", f"{name}={value}")]
        size = ("-x", str(WIDTH), "-y", str(HEIGHT))
        start = [*tmux, "new-session", "-d", *size, *settings, "-c", str(ROOT), script]
        subprocess.run(start, check=True)
        try:
            deadline = time.monotonic() + TIMEOUT
            while not ended.exists():
                if time.monotonic() > deadline:
                    raise SystemExit(f"inv {arguments} did not end within {TIMEOUT} s")
                time.sleep(0.1)
            capture = [*tmux, "capture-pane", "-e", "-p"]
            return subprocess.run(capture, check=True, capture_output=True, text=True).stdout
        finally:
            subprocess.run([*tmux, "kill-server"], check=False)


def draw(name: str, arguments: str, variables: Mapping[str, str] = {}) -> None:
    """Run a verb and write its screen to docs/pictures/NAME.svg."""
    text = Text.from_ansi(capture_terminal(arguments, variables).rstrip())
    with Path(os.devnull).open("w") as devnull:
        console = Console(file=devnull, record=True, width=WIDTH, force_terminal=True)
        console.print(text, soft_wrap=False)
        svg = console.export_svg(
            title=f"inv {arguments}", theme=THEME, code_format=TEMPLATE, unique_id=name
        )
    (FOLDER / f"{name}.svg").write_text(svg, "utf-8")


if __name__ == "__main__":
    sys.exit(main())
