"""A service's health over time: a row for each replica, and the moments of change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from rich.text import Text

from invoke_stack.cli.screen import cards, grid
from invoke_stack.cli.screen.console import plain
from invoke_stack.commands.history import Change, History, Sample, Track
from invoke_stack.model import Health, State

_BARS = "▁▂▃▄▅▆▇█"
_LEAST_SCALE = 20.0  # ms: what is quicker than that is not worth a mountain
_MARKS = {  # in the place of a bar, so that no colour is needed
    State.DEGRADED: "!",
    State.STARTING: "…",
    State.UNKNOWN: "?",
    State.UNHEALTHY: "✗",
    State.UNREACHABLE: "×",
}


def pulse_lines(history: History, looks: Sequence[Health], now: datetime, width: int) -> list[Text]:
    """A row for each replica, with what is known beside its state, and the changes, newest first."""
    if len(history.tracks) > 1:
        shown = _rows(history.tracks, looks, now, width)
    else:
        shown = [
            line
            for name, track in history.tracks.items()
            for line in _only(name, track, now, width)
        ]
    for look in looks[:1]:
        if look.details:
            shown.append(Text.from_markup(f"  {cards.details(look)}", emoji=False))
    if history.changes:
        shown += [Text(), Text("changes (UTC)", "dim")]
    several = len(history.tracks) > 1
    shown += [_change(change, several) for change in reversed(history.changes)]
    return [plain(line) for line in shown]


def news_lines(history: History, looks: Sequence[Health], now: datetime) -> list[Text]:
    """The last look at each replica, and why it is not healthy."""
    shown = []
    for look in looks:
        track = history.tracks[look.replica]
        line = _head(look.replica, track, now)
        if track.last and track.last.reason:
            line.append(f": {track.last.reason}")
        shown.append(plain(line))
    return shown


def _head(name: str, track: Track, now: datetime) -> Text:
    assert track.last is not None
    colour, sign = cards.STATE_STYLE[track.last.state]
    head = Text.assemble((f"{sign} {name} is {track.last.state}", colour))
    head.append(f" for {_since(track, now)}")
    if track.samples[-1].latency_ms is not None:
        head.append(f" · latency {_latency(track)}")
    return head


def _only(name: str, track: Track, now: datetime, width: int) -> list[Text]:
    """One replica, which has the room of several."""
    head = _head(name, track, now)
    samples = list(track.samples)[2 - width :]
    if known := [each.latency_ms for each in samples if each.latency_ms is not None]:
        head.append(f", {min(known):.0f} to {max(known):.0f} ms shown", "dim")
    return [head, Text("  ").append_text(_bars(samples))]


def _rows(
    tracks: Mapping[str, Track], looks: Sequence[Health], now: datetime, width: int
) -> list[Text]:
    """Several replicas, one line each; the node only where there are several."""
    nodes = {look.replica: look.node for look in looks}
    several = len(set(nodes.values())) > 1
    heads = ["", "REPLICA", "STATE", "FOR", "LATENCY", *(["NODE"] if several else [])]
    rows = []
    for name, track in tracks.items():
        assert track.last is not None
        colour, sign = cards.STATE_STYLE[track.last.state]
        rows.append(
            [
                *(Text(sign, colour), Text(name), Text(track.last.state, colour)),
                *(Text(_since(track, now)), Text(_latency(track))),
                *([Text(nodes.get(name, ""))] if several else []),
            ]
        )
    # The bars tell more than the last columns.
    shown = grid.lines(heads, rows, width - _LEAST_ROOM - 2)
    begin = max(line.cell_len for line in shown) + 2
    room = width - begin
    if room >= _LEAST_ROOM:
        for line, track in zip(shown[1:], tracks.values(), strict=True):
            line.append(" " * (begin - line.cell_len))
            line.append_text(_bars(list(track.samples)[-room:]))
    return shown


_LEAST_ROOM = 8  # cells: fewer bars tell nothing


def _since(track: Track, now: datetime) -> str:
    return grid.span((now - track.last.at).total_seconds()) if track.last else ""


def _latency(track: Track) -> str:
    latency = track.samples[-1].latency_ms
    return "no answer" if latency is None else f"{latency:.0f} ms"


def _bars(samples: Sequence[Sample]) -> Text:
    known = [each.latency_ms for each in samples if each.latency_ms is not None]
    scale = max([_LEAST_SCALE, *known])
    bars = Text()
    for each in samples:
        sign = _MARKS.get(each.state)
        if sign is None:
            share = (each.latency_ms or 0.0) / scale
            sign = _BARS[min(len(_BARS) - 1, int(share * len(_BARS)))]
        bars.append(sign, cards.STATE_STYLE[each.state][0])
    return bars


def _change(change: Change, names: bool) -> Text:
    colour, sign = cards.STATE_STYLE[change.state]
    line = Text(f"  {change.at:%H:%M:%S}  ")
    line.append(sign, colour)
    line.append(f" {change.replica} is {change.state}" if names else f" {change.state}")
    if change.previous:
        line.append(f", after {grid.span(change.previous_seconds)} {change.previous}", "dim")
    else:
        line.append(" at the first look", "dim")
    if change.reason:
        line.append(f": {change.reason}")
    return line
