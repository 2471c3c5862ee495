"""Paraphrases of the same facts by a language model on this machine: optional, and kept only where a parser finds the
same facts.

A proposal is taken only if the checker reads the same facts out of it, and if so few of its words are unknown to the
checker that nothing else of weight can be said in them. Everything else is refused and counted by reason; the record
keeps its own words then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from deft.unimer.check import parse
from deft.unimer.facts import Facts
from deft.unimer.wording import tokens

UNREAD = 0.25  # at most this share of the words may be unknown to the checker
LONGEST = 3  # times as long as the answer
PROMPT = (
    "Say the following in other words. Keep every fact, every side and every direction, add nothing.\nText:"
    " {answer}\nOther words:"
)


def refusal(proposal: str, answer: str, stated: Facts) -> str:
    """Why a proposal is not taken: "empty", "same words", "too long", "other facts", "unread words"; "" if it is
    taken.
    """
    words = tokens(proposal)
    if not words:
        return "empty"
    if words == tokens(answer):
        return "same words"
    if len(words) > LONGEST * len(tokens(answer)):
        return "too long"
    read = parse(proposal)
    if _bag(read) != _bag(stated):
        return "other facts"
    return "unread words" if read.unknown > UNREAD * len(words) else ""


def _bag(facts: Facts) -> Facts:
    """Facts without their order: a rephrasing may tell them in another one. A class named by its emotion implies the
    coarse one.
    """
    return replace(
        facts, **{key: tuple(sorted(getattr(facts, key), key=repr)) for key in ("units", "motions", "denied", "times")}
    )


def rephrase(records: Iterable[Mapping], say: Callable[[str], str]) -> tuple[list[dict], dict[str, int]]:
    """Records with the answers of `say` where they hold, and the counts {"asked", "accepted", "rejected", "rejected:
    <reason>"}.

    say: answer -> proposal. A record's question, facts and evidence stay as they are.
    """
    out, counts = [], Counter(asked=0, accepted=0, rejected=0)
    for record in records:
        proposal = " ".join(str(say(record["answer"])).split())
        reason = refusal(proposal, record["answer"], Facts.from_json(record["stated"]))
        counts.update(("asked", "rejected", f"rejected: {reason}") if reason else ("asked", "accepted"))
        out.append({**record, "answer": record["answer"] if reason else proposal})
    return out, dict(counts)


def local_model(folder: Path, longest: int = 96) -> Callable[[str], str]:
    """`say` of a causal language model in a local folder (config.json, tokenizer, *.safetensors): greedy, its first
    line. Fetches nothing.
    """
    if not (Path(folder) / "config.json").is_file():
        raise FileNotFoundError(
            f"no language model in '{folder}': name a local folder that holds config.json, tokenizer files and"
            " *.safetensors"
        )
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, use_safetensors=True).eval()

    @torch.inference_mode()
    def say(answer: str) -> str:
        asked = tokenizer(PROMPT.format(answer=answer), return_tensors="pt", return_token_type_ids=False)
        said = model.generate(
            **asked,
            max_new_tokens=longest,
            do_sample=False,
            pad_token_id=tokenizer.pad_token_id or tokenizer.eos_token_id,
        )
        text = tokenizer.decode(said[0, asked["input_ids"].shape[1] :], skip_special_tokens=True)
        return text.strip().split("\n")[0]

    return say
