"""Does schooling teach a base to read soft words? `python -m tests.schooling [--steps 750]`: by hand, minutes.

A base of the demo's size reads plain text alone (`text_steps`), as a base from elsewhere has. Then its adapters are
schooled, and texts that schooling never drew are scored with their own soft words and with those of other texts: only a
model that reads them loses by the exchange."""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import fake_bench
from test_school import held_out, reader

from deft.mllm import detectors, language, school, tune


def main(text_steps: int, steps: int) -> None:
    work = fake_bench.write(Path(tempfile.mkdtemp()) / "work")
    plain = language.LanguageSettings(text_steps=text_steps, soft_steps=0)
    language.pretrain(plain, base := work.parent / "plain", detectors.path_of(work))
    settings = tune.TuneSettings(school=steps)
    tokenizer, model = reader(base, settings)
    print(f"plain text alone: {held_out(tokenizer, model, work):.3f}")
    school.school(work, 0, settings, base)
    school.begin(model, school.folder_of(work, 0, base))
    own, other = (held_out(tokenizer, model, work, shift=shift) for shift in (0, 5))
    print(f"after {steps} steps of schooling: {own:.3f}; with the soft words of other texts: {other:.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--text-steps", type=int, default=300)
    parser.add_argument("--steps", type=int, default=750)
    main(**vars(parser.parse_args()))
