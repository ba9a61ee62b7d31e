"""The health of a service over time: one row for each replica, then the state changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from rich.text import Text

from invoke_stack.cli.screen import columns, summary
from invoke_stack.cli.screen.columns import format_duration
from invoke_stack.cli.screen.console import plain
from invoke_stack.commands.history import Change, History, Sample, Track
from invoke_stack.model import Health, State

_BARS = "▁▂▃▄▅▆▇█"
_MIN_SCALE = 20.0  # ms at the top of the scale, at least, so that fast responses stay low bars
_MIN_BARS = 8  # cells; fewer bars show no trend
_MARKS = {  # shown instead of a bar, so that the state does not depend on colour
    State.DEGRADED: "!",
    State.STARTING: "…",
    State.UNKNOWN: "?",
    State.UNHEALTHY: "✗",
    State.UNREACHABLE: "×",
}


def timeline_lines(
    history: History, healths: Sequence[Health], now: datetime, width: int
) -> list[Text]:
    """Return a row for each replica, the details of the first one, and the changes, newest first.

    `healths` is the result of the last poll; empty if it failed.
    """
    several = len(history.tracks) > 1
    if several:
        lines = _replica_rows(history.tracks, healths, now, width)
    else:
        lines = [
            line
            for name, track in history.tracks.items()
            for line in _single_replica(name, track, now, width)
        ]
    for health in healths[:1]:
        if health.details:
            lines.append(Text.from_markup(f"  {summary.format_details(health)}", emoji=False))
    if history.changes:
        lines += [Text(), Text("changes (UTC)", "dim")]
    lines += [_change_line(change, several) for change in reversed(history.changes)]
    return [plain(line) for line in lines]


def latest_lines(history: History, healths: Sequence[Health], now: datetime) -> list[Text]:
    """Return one line for each replica: its state, since when, latency, and why not healthy."""
    lines = []
    for health in healths:
        track = history.tracks[health.replica]
        line = _headline(health.replica, track, now)
        if track.last and track.last.reason:
            line.append(f": {track.last.reason}")
        lines.append(plain(line))
    return lines


def _headline(name: str, track: Track, now: datetime) -> Text:
    assert track.last is not None
    colour, sign = summary.STATE_STYLE[track.last.state]
    line = Text.assemble((f"{sign} {name} is {track.last.state}", colour))
    line.append(f" for {_time_in_state(track, now)}")
    if track.samples[-1].latency_ms is not None:
        line.append(f" · latency {_latency(track)}")
    return line


def _single_replica(name: str, track: Track, now: datetime, width: int) -> list[Text]:
    """Return the headline and a full line of bars for a service with one replica."""
    headline = _headline(name, track, now)
    samples = list(track.samples)[2 - width :]
    if latencies := _latencies(samples):
        headline.append(f", {min(latencies):.0f} to {max(latencies):.0f} ms shown", "dim")
    return [headline, Text("  ").append_text(_bars(samples))]


def _replica_rows(
    tracks: Mapping[str, Track], healths: Sequence[Health], now: datetime, width: int
) -> list[Text]:
    """Return a row for each replica; with its node if they run on several nodes."""
    nodes = {health.replica: health.node for health in healths}
    several_nodes = len(set(nodes.values())) > 1
    headings = ["", "REPLICA", "STATE", "FOR", "LATENCY", *(["NODE"] if several_nodes else [])]
    rows = []
    for name, track in tracks.items():
        assert track.last is not None
        colour, sign = summary.STATE_STYLE[track.last.state]
        rows.append(
            [
                *(Text(sign, colour), Text(name), Text(track.last.state, colour)),
                *(Text(_time_in_state(track, now)), Text(_latency(track))),
                *([Text(nodes.get(name, ""))] if several_nodes else []),
            ]
        )
    # Where there is little room, bars are worth more than the last columns.
    lines = columns.align(headings, rows, width - _MIN_BARS - 2)
    start = max(line.cell_len for line in lines) + 2
    room = width - start
    if room >= _MIN_BARS:
        for line, track in zip(lines[1:], tracks.values(), strict=True):
            line.append(" " * (start - line.cell_len))
            line.append_text(_bars(list(track.samples)[-room:]))
    return lines


def _time_in_state(track: Track, now: datetime) -> str:
    return format_duration((now - track.last.at).total_seconds()) if track.last else ""


def _latency(track: Track) -> str:
    latency = track.samples[-1].latency_ms
    return "no answer" if latency is None else f"{latency:.0f} ms"


def _latencies(samples: Sequence[Sample]) -> list[float]:
    return [sample.latency_ms for sample in samples if sample.latency_ms is not None]


def _bars(samples: Sequence[Sample]) -> Text:
    scale = max([_MIN_SCALE, *_latencies(samples)])
    bars = Text()
    for sample in samples:
        sign = _MARKS.get(sample.state)
        if sign is None:
            share = (sample.latency_ms or 0.0) / scale
            sign = _BARS[min(len(_BARS) - 1, int(share * len(_BARS)))]
        bars.append(sign, summary.STATE_STYLE[sample.state][0])
    return bars


def _change_line(change: Change, with_name: bool) -> Text:
    colour, sign = summary.STATE_STYLE[change.state]
    line = Text(f"  {change.at:%H:%M:%S}  ")
    line.append(sign, colour)
    line.append(f" {change.replica} is {change.state}" if with_name else f" {change.state}")
    if change.previous:
        line.append(f", after {format_duration(change.previous_seconds)} {change.previous}", "dim")
    else:
        line.append(" at the first poll", "dim")
    if change.reason:
        line.append(f": {change.reason}")
    return line
