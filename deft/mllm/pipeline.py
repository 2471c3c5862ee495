"""From the frames of a clip to an answer, in memory: face, motion, evidence, experts, language model, statements that
are checked.

    pipeline = DeftPipeline.from_pretrained("work/demo")    # a finished work folder, or what `save_pretrained` wrote
    answer = pipeline(frames, fps=200)                       # a dict: "emotion", "text", "units", ...
    transformers.pipeline("micro-expression", folder)("clip.mp4")    # the same, of what `save_pretrained` wrote

A text is checked before it is said (`deft.mllm.checked`), and a face on which nothing moves has no emotion and no unit.

Nothing is prepared a second way: the functions, experts, calibrations and prompts of stages 02 to 08 see the clip, so
its answer differs from a benchmark answer in the face alone."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from huggingface_hub import HfApi
from safetensors import SafetensorError
from transformers import AutoModel, AutoTokenizer, Pipeline
from transformers.pipelines import PIPELINE_REGISTRY

from deft import paths, runtime, weights
from deft.clips.footage import Footage, Frames
from deft.experts import data, draws, frozen, pretrain
from deft.experts.calibrate import Calibration
from deft.faces import landmarks
from deft.mllm import card, classes, prompt, score
from deft.mllm.checked import checked
from deft.mllm.data import TuningData, heard
from deft.mllm.model import DeftLLMForConditionalGeneration
from deft.mllm.processor import DeftLLMProcessor
from deft.mllm.runs import Job
from deft.motion import evidence
from deft.systems import DEFT
from deft.unimer.check import CLASS_THRESHOLD, check
from deft.unimer.measure import Measurement, measure, unit_rows

RECORD = "pipeline.json"
SIMULATED = "Simulated clips: made-up faces whose motion is known. No face of a person was used."
RECORDED = (
    "Recordings of people, named above, under their owners' licence, which says who may have what was learned on them."
)


@dataclass(frozen=True, eq=False)
class DeftPipeline:
    """Everything that answers a clip. places: {part: its file or folder}, parts as in `of_work`; source: where it comes
    from, in words; scores: rows of its card (`card.metrics`).

    cascade and calibration may be None: landmarks then hang on face and eyes alone, and the evidence is an order only.
    """

    tokenizer: object
    model: object
    experts: dict[str, pretrain.Expert]
    calibrations: dict[str, Calibration]
    cascade: landmarks.Cascade | None
    calibration: evidence.Calibration | None
    places: dict[str, Path]
    source: str
    scores: list[list[str]]

    # ------------------------------------------------------------ loading and saving
    @classmethod
    def from_pretrained(cls, folder: str | Path, base: str | Path | None = None) -> DeftPipeline:
        """From the folder that `save_pretrained` wrote or the hub id it was pushed to, or from a finished work folder
        (its model `deft`, draw 0, fold 0). base: folder of the base, where it lies elsewhere.

        FileNotFoundError names what is missing, ValueError what is damaged, both with a remedy.
        """
        if not Path(folder).is_dir() and weights.HUB_ID.fullmatch(str(folder)):
            folder = weights.fetch(str(folder))
        folder = Path(folder)
        if not (folder / RECORD).is_file():
            if (folder / "mllm" / "runs").is_dir():
                return cls.of_work(folder)
            raise FileNotFoundError(
                f"{folder} holds no {RECORD} and no tuned model: run the stages to 07_joint_tuning (`make reproduce`)"
                " and give the work folder of the profile, or write a folder with"
                " DeftPipeline.from_pretrained(work).save_pretrained(folder)"
            )
        return cls.around(folder, *load_model(folder, base))

    @classmethod
    def around(cls, folder: Path, tokenizer: object, model: object) -> DeftPipeline:
        """The saved folder of a model that is loaded already."""
        found = runtime.read_json(folder / RECORD)
        places = {part: folder / place for part, place in found["parts"].items()}
        return cls._load(places, tokenizer, model, found["source"], found["scores"])

    @classmethod
    def of_work(cls, work: str | Path, system: str = DEFT, draw: int = 0, fold: int = 0) -> DeftPipeline:
        """From a work folder after stages 02 to 07: one tuned model with the experts that it reads."""
        work = Path(work)
        job = Job(system, draw, fold)
        if not (job.folder(work) / "config.json").is_file():
            raise FileNotFoundError(
                f"{work} holds no tuned model ({job}); run 07_joint_tuning (`make reproduce PROFILE={work.name}`)"
            )
        places = {
            "model": job.folder(work),
            "landmarks": work / "faces" / "landmarks",
            "evidence": work / "evidence" / "calibration.json",
        }
        places |= {name: pretrain.folder_of(work, name, draws.read_by(work, draw)) for name in data.NAMES}
        note = runtime.read_json(work / "set.json") if (work / "set.json").is_file() else {"simulated": True}
        learned = card.SIMULATED_ONLY if note["simulated"] else f"tuned on recorded faces ({note['dataset']})"
        source = f"{system}, seed {draw}, fold {fold}, profile {work.name}; {learned}"
        scores = card.metrics(paths.figures(work.name) / "tables" / "T2.csv", system)
        return cls._load(places, *load_model(places["model"]), source, scores)

    @classmethod
    def _load(
        cls, places: dict[str, Path], tokenizer: object, model: object, source: str, scores: list
    ) -> DeftPipeline:
        experts = {name: pretrain.load(places[name]) for name in model.streams}
        for name, digest in model.config.experts.items():
            if runtime.sha256(places[name] / "model.safetensors") != digest:
                raise ValueError(
                    f"{places[name]} is another expert than the model was tuned on; save the pipeline again"
                )
        for expert in experts.values():
            if expert.frozen:
                expert.frozen.load()  # one that is not to be had is refused here, not at the first clip
        speaks = [name for name in model.streams if name in prompt.UNIT_STREAMS]  # also where no soft word is shown
        calibrations = {name: Calibration.load(places[name] / "calibration.json") for name in speaks}
        cascade = landmarks.load(places["landmarks"]) if (places["landmarks"] / "weights.npz").is_file() else None
        calibration = evidence.Calibration.load(places["evidence"]) if places["evidence"].is_file() else None
        kept = {
            part: place
            for part, place in places.items()
            if place.exists() and part in ("model", "landmarks", "evidence", *model.streams)
        }
        return cls(tokenizer, model, experts, calibrations, cascade, calibration, kept, source, scores)

    def save_pretrained(self, folder: str | Path, data: str = "") -> Path:
        """Write a folder that answers a clip: a copy of every part (a base or an encoder from elsewhere by reference),
        and a model card. data: what it was tuned on, in words of the card; by default simulated clips, or recordings.

        Its top is the folder of the model: AutoModel, AutoProcessor and transformers' `pipeline` read it.
        FileExistsError when the folder is there and holds something else.
        """
        folder, parts, model = Path(folder), {"model": "."}, self.places["model"]
        data = data or (SIMULATED if self.source.endswith(card.SIMULATED_ONLY) else RECORDED)
        if folder.exists() and not (folder / RECORD).is_file():
            raise FileExistsError(f"{folder} is there and is no pipeline: give another folder")
        experts = {name: runtime.sha256(self.places[name] / "model.safetensors") for name in self.experts}
        with runtime.atomic(folder) as fresh:
            fresh.mkdir(exist_ok=True)
            for file in (p for p in model.iterdir() if p.is_file() and not p.name.startswith(".") and p.name != RECORD):
                shutil.copy2(file, fresh / file.name)
            config = runtime.read_json(fresh / "config.json") | {"experts": experts}
            runtime.write_json(fresh / "config.json", config)
            streams = self.model.config
            settings = (streams.streams, streams.tokens, streams.width, experts)
            DeftLLMProcessor(self.tokenizer, *settings, words=streams.words_shown).save_pretrained(fresh)
            for part, place in self.places.items():
                if part != "model":
                    parts[part] = part if place.is_dir() else place.name
                    if place.is_dir():
                        shutil.copytree(place, fresh / parts[part], ignore=shutil.ignore_patterns(frozen.RECORD))
                    else:
                        shutil.copy2(place, fresh / parts[part])
            about = {"parts": parts, "source": self.source, "scores": self.scores, "commit": runtime.commit()}
            runtime.write_json(fresh / RECORD, about)
            seen = {name: asdict(e.frozen.reference) for name, e in self.experts.items() if e.frozen}
            words = card.text(self.model.config.to_dict(), self.source, data, self.scores, runtime.commit(), seen)
            (fresh / "README.md").write_text(words, encoding="utf-8")
        return folder

    def push_to_hub(self, repo: str, private: bool = True, data: str = "") -> str:
        """Upload what `save_pretrained` writes to the hub id `repo`, privately by default; returns its address."""
        with tempfile.TemporaryDirectory() as scratch:
            folder = self.save_pretrained(Path(scratch) / "pipeline", data)
            HfApi().create_repo(repo, private=private, exist_ok=True)
            return str(HfApi().upload_folder(repo_id=repo, folder_path=folder))

    # ------------------------------------------------------------ answering
    def __call__(
        self,
        frames: Sequence[np.ndarray] | Footage,
        fps: float,
        onset: int | None = None,
        apex: int | None = None,
        offset: int | None = None,
    ) -> dict:
        """Answer one clip.

        frames: (H, W, 3) RGB or (H, W) uint8 each, of one size, or an open `Footage`; fps: 1/s; onset, apex, offset:
        frame numbers from 0, found from the motion when None. -> `moving`: does anything move on the face; `emotion`
        ("" if nothing does); `sure`: is it more probable than all others together; `scores` {emotion: probability} as
        the model gives them; `units` rows {unit, side, name, probability} of the experts, most probable first ([] if
        nothing moves); `text`, checked; `written`: the same before the check; `dropped` rows {text, why, instead};
        `statements` of the text, each held against the evidence (`deft.unimer.check`); `evidence`
        (`Measurement.report`). Raises ClipError, FaceError or FootageError (all ValueError) with a remedy."""
        footage = frames if isinstance(frames, Footage) else Frames(frames)
        return self.answer(measure(footage, fps, onset, apex, offset, None, self.cascade, self.calibration))

    def answer(self, clip: Measurement) -> dict:
        """The same, of a clip that was measured with this pipeline's cascade and calibration."""
        bench, row = self._features(clip), np.array([0])
        likelihood = score.emotion_scores(self.model, self.tokenizer, bench, row)[0]
        (written,) = score.answers(self.model, self.tokenizer, bench, row)
        units = heard(bench, self.model.unit_streams)[0]
        names = self.model.config.classes
        said = checked(written, units, clip.evidence, clip.moving, classes.word(classes.read(written, names)))
        return {
            "moving": clip.moving,
            "emotion": names[int(likelihood.argmax())] if clip.moving else "",
            "sure": bool(clip.moving and likelihood.max() >= CLASS_THRESHOLD),
            "scores": {e: float(p) for e, p in zip(names, likelihood)},
            "units": unit_rows(units) if clip.moving else [],
            "text": said.text,
            "written": written,
            "dropped": [asdict(one) for one in said.dropped],
            "statements": check(said.text, clip.evidence)["statements"],
            "evidence": clip.report(),
        }

    def _features(self, clip: Measurement) -> TuningData:
        """What the language model is given of one clip: the experts' tokens and calibrated probabilities, as stage
        06 extracts them.
        """
        arrays = {"rgb": clip.face.rgb[clip.shown], **clip.described}
        index, features = pd.DataFrame({"clip": ["own"]}), {}
        for name, expert in self.experts.items():
            inputs = expert.shown(lambda key: np.asarray(arrays[key])[None])
            tokens, logits = pretrain.predict(expert, data.Pairs(index, inputs))
            features[name] = tokens.astype(np.float32)
            if logits is not None:
                features[f"{name}_units"] = self.calibrations[name].apply(logits)
        return TuningData(index, features, [None], None, [False])


def load_model(folder: Path, base: str | Path | None = None) -> tuple:
    """(tokenizer, model) of a finished run; ValueError names the file that is not as it was written, or the folder
    that cannot be loaded.
    """
    try:
        return score.load(folder, base)
    except (SafetensorError, OSError, RuntimeError, KeyError) as error:
        raise ValueError(
            f"{folder} cannot be loaded ({error}); remove it and run 07_joint_tuning again (`make reproduce`)"
        ) from error


class MicroExpressionPipeline(Pipeline):
    """transformers' pipeline "micro-expression": the path of a video or of a folder of frames, or an open `Footage` ->
    the answer of `DeftPipeline`. fps: 1/s, where the clip does not say; onset, apex, offset: frame numbers from 0.
    """

    _load_tokenizer = _load_processor = _load_image_processor = _load_video_processor = _load_feature_extractor = False

    def __init__(self, model: DeftLLMForConditionalGeneration, **kwargs: Any):
        super().__init__(model=model, **kwargs)
        folder = Path(model.name_or_path)
        folder = folder if folder.is_dir() else weights.fetch(model.name_or_path)
        if not (folder / RECORD).is_file():
            raise FileNotFoundError(f"{folder} holds no experts: write it with DeftPipeline.save_pretrained")
        self.deft = DeftPipeline.around(folder, AutoTokenizer.from_pretrained(folder), model)

    def _sanitize_parameters(self, **moments):
        if strange := set(moments) - {"fps", "onset", "apex", "offset"}:
            raise TypeError(f"unknown argument {min(strange)!r}: fps, onset, apex and offset are known")
        return moments, {}, {}

    def preprocess(
        self,
        clip: str | Path | Footage,
        fps: float | None = None,
        onset: int | None = None,
        apex: int | None = None,
        offset: int | None = None,
    ) -> dict[str, Measurement]:
        """Open and measure the clip."""
        footage = clip if isinstance(clip, Footage) else Footage(clip)
        if not (rate := fps or footage.fps):
            raise ValueError(f"{footage.name} does not say its frames per second: give fps=")
        found = measure(footage, float(rate), onset, apex, offset, None, self.deft.cascade, self.deft.calibration)
        return {"clip": found}

    def _forward(self, inputs):
        return {"answer": self.deft.answer(inputs["clip"])}

    def postprocess(self, outputs: dict) -> dict:
        """The answer as it is."""
        return outputs["answer"]


PIPELINE_REGISTRY.register_pipeline("micro-expression", MicroExpressionPipeline, pt_model=AutoModel)
