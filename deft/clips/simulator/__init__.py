"""Micro-expressions of people who do not exist, with complete truth about what moved.

`render` films one clip; `sample_identity` and `render_clip` are its parts for those who write many.
"""

from deft.clips.simulator.camera import Camera
from deft.clips.simulator.identity import sample_identity
from deft.clips.simulator.motion import Timing
from deft.clips.simulator.person import Identity
from deft.clips.simulator.render import DISTRACTORS, render, render_clip
from deft.clips.simulator.speech import speech

__all__ = ["Camera", "DISTRACTORS", "Identity", "Timing", "render", "render_clip", "sample_identity", "speech"]
