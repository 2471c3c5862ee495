"""A profile whose networks have random weights, in the form that the stages leave it in: what licensed sets borrow
and own clips are answered by.
"""

from dataclasses import asdict

import numpy as np

from deft import runtime
from deft.clips import store
from deft.experts import data, frozen, pretrain
from deft.experts.calibrate import Calibration
from deft.faces import landmarks
from deft.mllm import detectors, language, prompt, tune
from deft.motion import evidence

TINY = language.LanguageSettings(hidden=32, layers=1, heads=1, intermediate=48)


def write_profile(work, encoders=()):
    """Experts, text base, calibrations and landmark regressor under `work`, nothing tuned. encoders: `frozen.named`, of
    the experts that read one.
    """
    rng = np.random.default_rng(0)
    for name in data.NAMES:
        folder, seen = work / "experts" / name, dict(encoders).get(name)
        sizes = {"width": seen.load().width} if seen else {}
        model = pretrain.build(name, sizes, 7)
        folder.mkdir(parents=True)
        pretrain.save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "model.safetensors")
        about = {"name": name, "sizes": sizes, "settings": {}, "words": [], "key": ""}
        if seen:
            about |= {"encoder": asdict(seen.reference)}
            runtime.write_json(folder / frozen.RECORD, {"folder": seen.place})
        runtime.write_json(folder / "config.json", about)
        if name in pretrain.SPEAKING:
            Calibration.fit(rng.standard_normal((40, 17, 2)), rng.random((40, 17, 2)) < 0.3, np.arange(40) % 8).save(
                folder / "calibration.json"
            )
    tokenizer = language.build_tokenizer()
    language.build_base(tokenizer, TINY).save_pretrained(work / "mllm" / "base")
    runtime.write_json(work / "mllm" / "base" / "history.json", {})  # one of our own
    tokenizer.save_pretrained(work / "mllm" / "base")
    said = {name: rng.random((40, 17, 2)) for name in prompt.UNIT_STREAMS}
    moved = (rng.random((40, 17, 2)) < 0.3) * 0.5
    detectors.Detectors.fit(said, moved, np.arange(40) % 8).save(detectors.path_of(work))
    evidence.Calibration((1.0,) * 17, (0.2,) * 17, (-1.5,) * 17, (0.12,) * 17, 40, "random").save(
        work / "evidence" / "calibration.json"
    )
    stages_of_none = landmarks.Cascade(np.zeros((0, 1)), np.zeros((0, 1, 136)), np.zeros((0, 136)), {"cascade": 0.0})
    stages_of_none.save(
        work / "faces" / "landmarks"
    )  # a cascade without stages: points stay where eyes and face put them
    row = dict.fromkeys(store.INDEX_COLUMNS, "") | {"clip": "c", "subject": "s"}
    store.write_shard(
        work / "clips" / "corpus" / "s.npz", [row], "made up", units_true=np.full((1, 17, 2), 0.3, np.float32)
    )


def write_run(work):
    """A tuned model of system `deft`, draw 0, fold 0, as it was before its first step; returns its folder."""
    tokenizer, model = tune.build(work, "deft", tune.TuneSettings(), 7)
    folder = tune.Job("deft", 0, 0).folder(work)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
