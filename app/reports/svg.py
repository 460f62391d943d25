"""Small SVG pieces as text. Colours are CSS classes of the report, so a chart follows the light and the dark theme."""

from collections.abc import Callable, Iterable, Sequence
from html import escape
from importlib.resources import files

Scale = Callable[[float], float]


def linear(domain: tuple[float, float], pixels: tuple[float, float]) -> Scale:
    """A straight scale from data to pixels."""
    (low, high), (start, stop) = domain, pixels
    span = (high - low) or 1.0
    return lambda value: start + (value - low) / span * (stop - start)


def text(x: float, y: float, words: object, kind: str = "", anchor: str = "start") -> str:
    """A label; `anchor` is start, middle or end."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{escape(str(words))}</text>'


def line(x1: float, y1: float, x2: float, y2: float, kind: str = "axis") -> str:
    """A straight line."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def path(points: Iterable[tuple[float, float]], kind: str) -> str:
    """A line through points."""
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{joined}" class="{kind}"/>'


def band(low: Iterable[tuple[float, float]], high: Iterable[tuple[float, float]], kind: str) -> str:
    """What lies between two lines over the same places."""
    corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in (*low, *reversed([*high])))
    return f'<polygon points="{corners}" class="{kind}"/>'


def circle(x: float, y: float, radius: float, kind: str, tip: str = "") -> str:
    """A dot, with a sentence that shows when pointed at."""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" class="{kind}">{_tip(tip)}</circle>'


def diamond(x: float, y: float, radius: float, kind: str, tip: str = "") -> str:
    """A dot of another shape, so that colour is never the only difference."""
    corners = f"{x:.1f},{y - radius:.1f} {x + radius:.1f},{y:.1f} {x:.1f},{y + radius:.1f} {x - radius:.1f},{y:.1f}"
    return f'<polygon points="{corners}" class="{kind}">{_tip(tip)}</polygon>'


def rect(
    x: float, y: float, width: float, height: float, kind: str, tip: str = "", opacity: float | None = None
) -> str:
    """A box."""
    filled = "" if opacity is None else f' fill-opacity="{opacity:.3f}"'
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" class="{kind}"{filled}>{_tip(tip)}</rect>'


def figure(width: int, height: int, pieces: Sequence[str], label: str) -> str:
    """The whole drawing; `label` is what a screen reader says."""
    drawn = "".join(pieces)
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label, quote=True)}">{drawn}</svg>'


def standalone(drawn: str) -> str:
    """The drawing as a file of its own, with colours for light and dark."""
    style = (files(__package__ or "workbench_app.reports") / "templates" / "drawing.css").read_text("utf-8")
    head = f"<style>svg {{ font-family: sans-serif; background: var(--page); }}\n{style}</style>"
    return drawn.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1).replace(">", f">{head}", 1)


def _tip(words: str) -> str:
    return f"<title>{escape(words)}</title>" if words else ""
