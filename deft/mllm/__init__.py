"""One language model: text-only base, structured prompt, model, joint tuning, answers (claim C5).

    from deft.mllm import DeftLLMConfig, DeftLLMForConditionalGeneration, DeftLLMProcessor

registers the three with transformers' Auto classes, and the pipeline "micro-expression". They are imported when they
are asked for: most of the package needs no torch."""

import importlib

_FACE = {
    "DeftLLMConfig": "configuration",
    "DeftLLMForConditionalGeneration": "model",
    "DeftLLMProcessor": "processor",
    "DeftPipeline": "pipeline",
}
__all__ = list(_FACE)


def __getattr__(name: str):
    if name not in _FACE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    importlib.import_module(f"{__name__}.pipeline")  # it needs, and so registers, all of them
    return getattr(importlib.import_module(f"{__name__}.{_FACE[name]}"), name)
