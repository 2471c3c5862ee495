"""What the peers with a language model share: a base with LoRA, and the answer read at the end of a prompt."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from deft import linear as products
from deft import runtime
from deft.mllm import language, prompt

RANK = 8  # of LoRA
START = language.LanguageSettings(hidden=64, layers=2, intermediate=160)  # of a model without a pretrained base


def base_of(
    folder: Path | None, words: Sequence[str], seed: int
) -> tuple[PreTrainedTokenizerBase, PreTrainedModel, bool]:
    """(tokenizer that knows every word as one token, language model, whether it is pretrained). folder None: a small
    model from a random start. Vectors of new words are drawn from the seed.
    """
    if folder is None:
        tokenizer = language.build_tokenizer()
        model = language.build_base(tokenizer, language.LanguageSettings(**{**START.__dict__, "seed": seed}))
    else:
        tokenizer, model = language.load_base(folder)
    new = [word for word in dict.fromkeys(words) if not _one_token(tokenizer, word)]
    tokenizer.add_tokens(new)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(runtime.seed_of(seed, "peer/new words"))
        table = model.get_input_embeddings()
        spread = float(table.weight.detach().std())
        model.resize_token_embeddings(max(len(tokenizer), table.num_embeddings), mean_resizing=False)
        with torch.no_grad():
            for word in new:
                row = model.get_input_embeddings().weight[prompt.ids_of(tokenizer, word)[0]]
                row.normal_(0.0, spread)
    return tokenizer, model, folder is not None


def _one_token(tokenizer: PreTrainedTokenizerBase, word: str) -> bool:
    ids = prompt.ids_of(tokenizer, word)
    return len(ids) == 1 and ids[0] != tokenizer.unk_token_id


class Adapted(nn.Module):
    """A copy of a language model with LoRA (pretrained: its own weights stay as they are, but for the vectors of words,
    among which new ones are; from a random start: all learn). Embedded prompts in, hidden states out.
    """

    def __init__(self, model: PreTrainedModel, pretrained: bool):
        super().__init__()
        model = copy.deepcopy(model)
        head = model.get_output_embeddings()
        wide = [name for name, m in model.named_modules() if isinstance(m, nn.Linear) and m is not head]
        lora = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=wide, lora_dropout=0.0)
        self.model = inject_adapter_in_model(lora, model)
        products.install(self.model)
        for name, weight in self.model.named_parameters():
            weight.requires_grad_(not pretrained or "lora_" in name or "embed_tokens" in name)

    @property
    def words(self) -> nn.Embedding:
        """The vectors of the words."""
        return self.model.get_input_embeddings()

    def forward(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """embedded (B, L, H), mask (B, L) of 0 and 1 with every 1 to the right -> hidden state of the last position (B,
        H).
        """
        places = (mask.cumsum(-1) - 1).clamp(min=0)
        out = self.model.base_model(inputs_embeds=embedded, attention_mask=mask, position_ids=places, use_cache=False)
        return out.last_hidden_state[:, -1]
