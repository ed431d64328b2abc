"""Line charts as SVG, without a library."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 70, 210, 46, 52
COLOURS = (
    "#1f6fb2", "#d1622b", "#2f8f4e", "#b23a6f", "#7a5cc0", "#8a6d1d", "#1d8a8a", "#c23b3b", "#4b5a66", "#5a8f1d",
    "#a04fb0", "#2b4fd1", "#7a4a2b", "#3a3a3a", "#d19a2b", "#6fb21f",
)  # fmt: skip

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Axis:
    """How values become places. `ticks` are the values that are labelled."""

    label: str
    ticks: Sequence[float]
    place: Callable[[float], float]
    """A value's place, from 0 to 1."""
    text: Callable[[float], str] = lambda value: f"{value:g}"


def logarithmic(label: str, values: Sequence[float]) -> Axis:
    """From the power of ten under the least value to the one above the greatest."""
    low, high = floor(log10(min(values))), ceil(log10(max(values)))
    high = max(high, low + 1)
    return Axis(label, [10.0**n for n in range(low, high + 1)], lambda v: (log10(v) - low) / (high - low), _short)


def linear(label: str, values: Sequence[float]) -> Axis:
    """From zero to a round number above the greatest value."""
    step = _round_up(max(values) / 5)
    top = step * ceil(max(values) / step)
    return Axis(label, [step * i for i in range(round(top / step) + 1)], lambda v: v / top, _short)


def steps(label: str, values: Sequence[float]) -> Axis:
    """Each value at the same distance from the one before it."""
    ordered = sorted(set(values))
    last = max(1, len(ordered) - 1)
    return Axis(label, ordered, lambda v: ordered.index(v) / last)


def chart(title: str, note: str, x: Axis, y: Axis, lines: Mapping[str, Points]) -> str:
    """The chart as an SVG document."""
    across, down = (LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}">',
        '<g font-family="system-ui, sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="20" font-size="15" font-weight="600" fill="#222">{escape(title)}</text>',
        f'<text x="{LEFT}" y="36" font-size="10.5" fill="#666">{escape(note)}</text>',
        *(_tick_x(x, tick) for tick in x.ticks),
        *(_tick_y(y, tick) for tick in y.ticks),
        f'<text x="{across}" y="{HEIGHT - 12}" text-anchor="middle" fill="#444">{escape(x.label)}</text>',
        f'<text transform="translate(16 {down}) rotate(-90)" text-anchor="middle" fill="#444">{escape(y.label)}</text>',
    ]
    for i, (name, points) in enumerate(lines.items()):
        colour = COLOURS[i % len(COLOURS)]
        path = " ".join(f"{_at_x(x, a):.1f},{_at_y(y, b):.1f}" for a, b in points)
        row = TOP + 10 + 18 * i
        parts += [
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2" stroke-linejoin="round"/>',
            *(
                f'<circle cx="{_at_x(x, a):.1f}" cy="{_at_y(y, b):.1f}" r="2.6" fill="{colour}">'
                f"<title>{escape(name)}: {x.text(a)}, {b:g}</title></circle>"
                for a, b in points
            ),
            f'<rect x="{WIDTH - RIGHT + 14}" y="{row - 8}" width="12" height="3" fill="{colour}"/>',
            f'<text x="{WIDTH - RIGHT + 32}" y="{row - 2}" fill="#333">{escape(name)}</text>',
        ]
    return "\n".join([*parts, "</g>", "</svg>", ""])


def _at_x(axis: Axis, value: float) -> float:
    return LEFT + axis.place(value) * (WIDTH - LEFT - RIGHT)


def _at_y(axis: Axis, value: float) -> float:
    return HEIGHT - BOTTOM - axis.place(value) * (HEIGHT - TOP - BOTTOM)


def _tick_x(axis: Axis, value: float) -> str:
    at = _at_x(axis, value)
    return (
        f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="#eee"/>'
        f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle" fill="#555">{axis.text(value)}</text>'
    )


def _tick_y(axis: Axis, value: float) -> str:
    at = _at_y(axis, value)
    return (
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}" stroke="#eee"/>'
        f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end" fill="#555">{axis.text(value)}</text>'
    )


def _round_up(value: float) -> float:
    size = 10.0 ** floor(log10(value))
    return next(step * size for step in (1, 2, 2.5, 5, 10) if step * size >= value)


def _short(value: float) -> str:
    for size, suffix in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{suffix}"
    return f"{value:g}"
