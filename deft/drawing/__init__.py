"""What the figures of the paper and the page about one's own clip draw with."""

from deft.drawing.charts import region_chart, region_rows, unit_chart, unit_legend
from deft.drawing.pictures import (
    MAGNIFY,
    difference,
    enlarge,
    face_mask,
    flow_limit,
    flows,
    magnify,
    show,
    show_face,
    show_flow,
    show_wheel,
)
from deft.drawing.style import CONDITIONS, INK, PAPER, SMALLEST, WIDTH, canvas, style
from deft.palette import BLUE, GREEN, GREY, LEFT, ORANGE, PINK, RED, RIGHT, SKY, TRUTH

__all__ = [
    "BLUE",
    "CONDITIONS",
    "GREEN",
    "GREY",
    "INK",
    "LEFT",
    "MAGNIFY",
    "ORANGE",
    "PAPER",
    "PINK",
    "RED",
    "RIGHT",
    "SKY",
    "SMALLEST",
    "TRUTH",
    "WIDTH",
    "canvas",
    "difference",
    "enlarge",
    "face_mask",
    "flow_limit",
    "flows",
    "magnify",
    "region_chart",
    "region_rows",
    "show",
    "show_face",
    "show_flow",
    "show_wheel",
    "style",
    "unit_chart",
    "unit_legend",
]
