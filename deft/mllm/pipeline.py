"""From the frames of a clip to an answer, in memory: face, motion, evidence, experts, language model, statements that
are checked.

    pipeline = DeftPipeline.from_pretrained("work/demo")    # a finished work folder, or what `save_pretrained` wrote
    answer = pipeline(frames, fps=200)                       # {"emotion", "scores", "units", "text", "statements",
    "evidence"}

Nothing is prepared a second way: the functions, experts, calibrations and prompts of stages 02 to 08 see the clip, so
its answer differs from a benchmark answer in the face alone."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors import SafetensorError

from deft import runtime
from deft.clips.footage import Footage, Frames
from deft.experts import data, draws, pretrain
from deft.experts.calibrate import Calibration
from deft.faces import landmarks
from deft.mllm import score
from deft.mllm.data import TuningData
from deft.mllm.runs import Job
from deft.motion import evidence
from deft.systems import DEFT
from deft.unimer.check import check
from deft.unimer.measure import Measurement, measure, unit_rows

RECORD = "pipeline.json"
LARGE = 2**30  # bytes: a larger part is not copied by `save_pretrained`, its place is written down


@dataclass(frozen=True, eq=False)
class DeftPipeline:
    """Everything that answers a clip. places: {part: its file or folder}, parts as in `of_work`; source: where it comes
    from, in words.

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

    # ------------------------------------------------------------ loading and saving
    @classmethod
    def from_pretrained(cls, folder: str | Path) -> DeftPipeline:
        """From the folder that `save_pretrained` wrote, or from a finished work folder (its model `deft`, draw 0, fold
        0).

        FileNotFoundError names what is missing, ValueError what is damaged, both with a remedy.
        """
        folder = Path(folder)
        if not (folder / RECORD).is_file():
            if (folder / "mllm" / "runs").is_dir():
                return cls.of_work(folder)
            raise FileNotFoundError(
                f"{folder} holds no {RECORD} and no tuned model: run the stages to 07_joint_tuning (`make reproduce`)"
                " and give the work folder of the profile, or write a folder with"
                " DeftPipeline.from_pretrained(work).save_pretrained(folder)"
            )
        found = runtime.read_json(folder / RECORD)
        return cls._load({part: folder / place for part, place in found["parts"].items()}, found["source"])

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
        return cls._load(
            places, f"{system}, seed {draw}, fold {fold}, profile {work.name}; trained on simulated faces only"
        )

    @classmethod
    def _load(cls, places: dict[str, Path], source: str) -> DeftPipeline:
        tokenizer, model = load_model(places["model"])
        experts = {name: pretrain.load(places[name]) for name in model.streams}
        calibrations = {name: Calibration.load(places[name] / "calibration.json") for name in model.unit_streams}
        cascade = landmarks.load(places["landmarks"]) if (places["landmarks"] / "weights.npz").is_file() else None
        calibration = evidence.Calibration.load(places["evidence"]) if places["evidence"].is_file() else None
        kept = {
            part: place
            for part, place in places.items()
            if place.exists() and part in ("model", "landmarks", "evidence", *model.streams)
        }
        return cls(tokenizer, model, experts, calibrations, cascade, calibration, kept, source)

    def save_pretrained(self, folder: str | Path, large: int = LARGE) -> Path:
        """Write a folder that `from_pretrained` reads: a copy of every part; of parts of `large` bytes and more, the
        place alone.

        FileExistsError when the folder is there and holds something else.
        """
        folder, parts = Path(folder), {}
        if folder.exists() and not (folder / RECORD).is_file():
            raise FileExistsError(f"{folder} is there and is no pipeline: give another folder")
        with runtime.atomic(folder) as fresh:
            fresh.mkdir(exist_ok=True)
            for part, place in self.places.items():
                files = [p for p in place.rglob("*") if p.is_file()] if place.is_dir() else [place]
                parts[part] = part if place.is_dir() else place.name
                if sum(p.stat().st_size for p in files) >= large:
                    parts[part] = str(place.resolve())
                elif place.is_dir():
                    shutil.copytree(place, fresh / part)
                else:
                    shutil.copy2(place, fresh / place.name)
            runtime.write_json(fresh / RECORD, {"parts": parts, "source": self.source, "commit": runtime.commit()})
        return folder

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
        frame numbers from 0, found from the motion when None. -> `emotion`; `scores` {emotion: probability}; `units`
        rows {unit, side, name, probability} of the experts, most probable first; `text`; `statements` of the text, each
        held against the evidence (`deft.unimer.check`); `evidence` (`Measurement.report`). Raises ClipError, FaceError
        or FootageError (all ValueError) with a remedy."""
        footage = frames if isinstance(frames, Footage) else Frames(frames)
        return self.answer(measure(footage, fps, onset, apex, offset, None, self.cascade, self.calibration))

    def answer(self, clip: Measurement) -> dict:
        """The same, of a clip that was measured with this pipeline's cascade and calibration."""
        bench, row = self._features(clip), np.array([0])
        likelihood = score.emotion_scores(self.model, self.tokenizer, bench, row)[0]
        (text,) = score.answers(self.model, self.tokenizer, bench, row)
        units = np.mean(
            [bench.features[f"{name}_units"][0] for name in self.model.unit_streams] or [np.full((17, 2), np.nan)],
            axis=0,
        )
        return {
            "emotion": self.model.config.classes[int(likelihood.argmax())],
            "scores": {e: float(p) for e, p in zip(self.model.config.classes, likelihood)},
            "units": unit_rows(units),
            "text": text,
            "statements": check(text, clip.evidence)["statements"],
            "evidence": clip.report(),
        }

    def _features(self, clip: Measurement) -> TuningData:
        """What the language model is given of one clip: the experts' tokens and calibrated probabilities, as stage
        06 extracts them.
        """
        arrays = {"rgb": clip.face.rgb[clip.shown], **clip.described}
        index, features = pd.DataFrame({"clip": ["own"]}), {}
        for name, expert in self.experts.items():
            inputs = data.inputs(expert.keys, lambda key: np.asarray(arrays[key])[None])
            tokens, logits = pretrain.predict(expert, data.Pairs(index, inputs))
            features[name] = tokens.astype(np.float32)
            if logits is not None:
                features[f"{name}_units"] = self.calibrations[name].apply(logits)
        return TuningData(index, features, [None], None, [False])


def load_model(folder: Path) -> tuple:
    """(tokenizer, model) of a finished run; ValueError names the file that is not as it was written, or the folder
    that cannot be loaded.
    """
    try:
        return score.load(folder)
    except (SafetensorError, OSError, RuntimeError, KeyError) as error:
        raise ValueError(
            f"{folder} cannot be loaded ({error}); remove it and run 07_joint_tuning again (`make reproduce`)"
        ) from error
