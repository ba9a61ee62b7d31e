"""What `doctor` found: the problems first, then what is fine, then what could not be checked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.columns import Columns
from rich.markup import escape
from rich.table import Table

from invoke_stack.model import CheckResult, Result

if TYPE_CHECKING:
    from rich.console import Console


def findings_text(
    console: Console, check_results: Sequence[CheckResult], runtime: str, seconds: float
) -> None:
    """Each problem in two to four lines, then the checks in few columns."""
    for check_result in check_results:
        for finding in check_result.findings:
            _row(console, "[bold red]✗[/]", f"[bold]{escape(finding.what)}[/]")
            for line in finding.evidence:
                _row(console, " ", f"[dim]{escape(line)}[/]")
            if finding.remedy:
                _row(console, "[cyan]→[/]", escape(finding.remedy))
    wrong = [each for each in check_results if each.result is Result.WRONG]
    count = sum(len(each.findings) for each in wrong)
    told = f"{len(check_results)} checks in {seconds:.1f} s, {runtime}"
    if wrong:
        console.print()
        console.print(f"[red]{count} problem{'s' if count > 1 else ''}[/] [dim]({told})[/]")
    else:
        console.print(f"[green]✓ nothing is wrong[/] [dim]({told})[/]")
    fine = [each.check for each in check_results if each.result is Result.FINE]
    _names(console, [f"[green]✓[/] {name}" for name in fine])
    for why, names in _skipped(check_results):
        _row(console, "[dim]-[/]", f"[dim]{', '.join(names)}: {escape(why)}[/]")


def _row(console: Console, sign: str, text: str) -> None:
    """A line whose continuation is indented."""
    row = Table.grid(padding=(0, 1, 0, 0))
    row.add_row(sign, text)
    console.print(row)


def _names(console: Console, names: Sequence[str]) -> None:
    if not console.is_terminal:
        console.print(" ".join(names))
        return
    console.print(Columns(names, equal=True, padding=(0, 2)))


def _skipped(check_results: Iterable[CheckResult]) -> list[tuple[str, list[str]]]:
    """The names of the checks that were not made, by the reason."""
    reasons: dict[str, list[str]] = {}
    for each in check_results:
        if each.result is Result.SKIPPED:
            reasons.setdefault(each.skipped, []).append(each.check)
    return list(reasons.items())
