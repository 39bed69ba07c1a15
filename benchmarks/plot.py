"""Curves over time as an SVG, one panel under the other, and nothing that is not needed for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, PANEL, LEFT, GAP = 760, 150, 70, 36
POINTS_MAX = 400
"""A panel has not many more pixels; of the seconds of one point the middle is drawn."""


@dataclass(frozen=True)
class Panel:
    """One curve; its values start at 0."""

    title: str
    seconds: Sequence[float]
    values: Sequence[float]


def svg(title: str, panels: Sequence[Panel]) -> str:
    """The whole file."""
    height = GAP + len(panels) * (PANEL + GAP)
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" font-size="12"',
        f' width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
    ]
    for number, panel in enumerate(panels):
        parts += _panel(panel, GAP + number * (PANEL + GAP))
    return "\n".join([*parts, "</svg>", ""])


def _panel(panel: Panel, top: int) -> list[str]:
    longest = max(panel.seconds, default=1.0) or 1.0
    most = _ceiling(max(panel.values, default=1.0))
    bottom, right = top + PANEL, WIDTH - 20
    parts = [f'<text x="{LEFT}" y="{top - 8}" font-weight="bold">{escape(panel.title)}</text>']
    for quarter in range(5):
        y = bottom - quarter * PANEL / 4
        parts.append(f'<path d="M{LEFT} {y:.1f}H{right}" stroke="#ddd"/>')
        label = f"{most * quarter / 4:,.4g}"
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
    for tenth in range(0, 11, 2):
        x = LEFT + (right - LEFT) * tenth / 10
        label = f"{longest * tenth / 10:.0f} s"
        parts.append(f'<text x="{x:.1f}" y="{bottom + 15}" text-anchor="middle">{label}</text>')
    points = " ".join(
        f"{LEFT + (right - LEFT) * second / longest:.1f},{bottom - PANEL * value / most:.1f}"
        for second, value in _thinned(panel)
    )
    return [*parts, f'<polyline points="{points}" fill="none" stroke="#1f5fa8"/>']


def _thinned(panel: Panel) -> list[tuple[float, float]]:
    pairs = list(zip(panel.seconds, panel.values, strict=True))
    step = max(1, -(-len(pairs) // POINTS_MAX))
    groups = [pairs[start : start + step] for start in range(0, len(pairs), step)]
    return [sorted(group, key=lambda pair: pair[1])[len(group) // 2] for group in groups]


def _ceiling(value: float) -> float:
    """The next number with one digit that four lines divide well."""
    if value <= 0:
        return 1.0
    scale = 1.0
    while scale * 10 <= value:
        scale *= 10
    while scale > value:
        scale /= 10
    return next(scale * step for step in (1, 2, 4, 5, 8, 10) if scale * step >= value)
