"""The report as one HTML file that needs no network: pictures inside, no script, every piece of text escaped.

The Content-Security-Policy in its head forbids the browser to fetch anything, so a hostile file name or answer could
not either. Colours follow the reader's light or dark setting; it prints on paper."""

from __future__ import annotations

import base64
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from deft.mllm import card

TEMPLATE = Path(__file__).with_name("page.html")

LIMITS = (
    *card.LIMITS,
    "The flow, the regions and the noise floor are measured on this clip; units and emotion are inferred from them.",
    "Show faces only with their owners' consent. This file contains the frames: treat it as you would the video.",
)


def data_url(content: bytes, kind: str = "image/png") -> str:
    """Bytes of a picture -> the text that carries it inside the page."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def html(report: dict, pictures: dict[str, str], magnify: float) -> str:
    """The page. report: the dict of report.json; pictures: name -> data URL. A field the page needs and lacks is an
    error.
    """
    engine = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return engine.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        report=report, pictures=pictures, limits=LIMITS, magnify=magnify
    )
