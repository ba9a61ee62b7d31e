"""Prints the results of `doctor`: problems, passed checks, skipped checks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.columns import Columns
from rich.markup import escape
from rich.table import Table

from invoke_stack.model import CheckResult, Result

if TYPE_CHECKING:
    from rich.console import Console


def print_findings(
    console: Console, check_results: Sequence[CheckResult], runtime: str, seconds: float
) -> None:
    """Print each problem in two to four lines, then the names of the other checks in columns."""
    for check_result in check_results:
        for finding in check_result.findings:
            _print_row(console, "[bold red]✗[/]", f"[bold]{escape(finding.what)}[/]")
            for line in finding.evidence:
                _print_row(console, " ", f"[dim]{escape(line)}[/]")
            if finding.remedy:
                _print_row(console, "[cyan]→[/]", escape(finding.remedy))
    problems = sum(len(each.findings) for each in check_results if each.result is Result.WRONG)
    scope = f"{len(check_results)} checks in {seconds:.1f} s, {runtime}"
    if problems:
        console.print()
        console.print(f"[red]{problems} problem{'s' if problems > 1 else ''}[/] [dim]({scope})[/]")
    else:
        console.print(f"[green]✓ no problems found[/] [dim]({scope})[/]")
    passed = [each.check for each in check_results if each.result is Result.FINE]
    _print_names(console, [f"[green]✓[/] {name}" for name in passed])
    for reason, names in _skipped_by_reason(check_results):
        _print_row(console, "[dim]-[/]", f"[dim]{', '.join(names)}: {escape(reason)}[/]")


def _print_row(console: Console, sign: str, text: str) -> None:
    """Print a sign and a text whose wrapped lines are indented."""
    row = Table.grid(padding=(0, 1, 0, 0))
    row.add_row(sign, text)
    console.print(row)


def _print_names(console: Console, names: Sequence[str]) -> None:
    if not console.is_terminal:
        console.print(" ".join(names))
        return
    console.print(Columns(names, equal=True, padding=(0, 2)))


def _skipped_by_reason(check_results: Iterable[CheckResult]) -> list[tuple[str, list[str]]]:
    """Return the names of the skipped checks, grouped by reason."""
    reasons: dict[str, list[str]] = {}
    for check_result in check_results:
        if check_result.result is Result.SKIPPED:
            reasons.setdefault(check_result.skipped, []).append(check_result.check)
    return list(reasons.items())
