"""The network peers by name: `build` gives one that learns and answers, `network` the bare network, also in its
published size.

No network is loaded before one is asked for: lists of names are read where torch is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

    from deft.evaluation.peers.network import Form, NetworkPeer

_RISE, _PAIR, _THREE = "flow u, v, strain of the rise", "apex minus onset and the onset", "onset, apex and offset frame"
# name -> (module, the form that the demo runs, what that reads)
_ROWS = {
    "offapexnet": ("offapexnet", "small", "flow u, v of the rise, 28 px"),
    "ststnet": ("ststnet", "small", f"{_RISE}, 28 px"),
    "rcn": ("rcn", "small", f"{_RISE}, 28 px"),
    "htnet": ("htnet", "small", f"four crops of 32 px of {_RISE}, 128 px"),
    "htnet-one-token": ("htnet", "one-token", f"four crops of 14 px of {_RISE}, 28 px"),
    "fmanet": ("fmanet", "small", "flow u, v, magnitude of rise and fall, 28 px"),
    "mmnet": ("mmnet", "small", f"{_PAIR}, 64 px"),
    "microattention": ("microattention", "small", f"{_RISE}, 28 px"),
    "ma2mi": ("ma2mi", "small", f"{_PAIR}, 64 px; pretrained on macro-expressions if given `start`"),
    "frames": ("merclip_mixing", "plain", f"{_THREE}, 64 px"),
    "merclip-mixing": ("merclip_mixing", "small", f"{_THREE}, 64 px, looks mixed in training"),
}
NAMES = tuple(_ROWS)
READS = {name: row[2] for name, row in _ROWS.items()}

# Related systems that are not built, and why: a network of guesses would carry their name and be another.
NOT_BUILT = {
    "tsan": "abstract only: architecture, sizes, inputs and recipe are unknown",
    "atm-gcn": "abstract only: the graph, its nodes and edges, sizes and recipe are unknown",
    "ammsm": "abstract only: architecture, sizes and recipe are unknown",
    "affectivenet": "abstract only: sizes, the weights of its affective motion image and the recipe are unknown",
    "frl-dgt": "abstract only: the displacement generator, its losses, sizes and recipe are unknown",
    "emr": "no code: the adversarial transfer from macro to micro, its losses and its macro data are unknown",
    "micron-bert": "no code for tuning, weights behind dead links; pretraining asks for millions of pictures of faces",
    "causalnet": "two HTNet encoders on motion and position images; what its causal objective adds is unknown here",
    "slstt": "sizes and recipe of the reported runs are unknown here; its transformer needs weights learned elsewhere",
}


def _module(name: str) -> ModuleType:
    from deft.evaluation.peers import (  # torch, if asked for
        fmanet,
        htnet,
        ma2mi,
        merclip_mixing,
        microattention,
        mmnet,
        offapexnet,
        rcn,
        ststnet,
    )

    if name not in _ROWS:
        unknown = f": it is not built ({NOT_BUILT[name]})" if name in NOT_BUILT else ""
        raise ValueError(f"no network peer is called {name!r}{unknown}; choose one of {', '.join(NAMES)}")
    modules = (fmanet, htnet, ma2mi, merclip_mixing, microattention, mmnet, offapexnet, rcn, ststnet)
    return {module.__name__.rpartition(".")[2]: module for module in modules}[_ROWS[name][0]]


def form_of(name: str, form: str | None = None) -> Form:
    """How system `name` is made, fed and trained; form None: the one that the demo runs. ValueError for what does not
    exist, with the reason.
    """
    module = _module(name)
    form = form or _ROWS[name][1]
    if form not in module.FORMS:
        why = f"; there is no published form, unknown is {module.UNKNOWN}" if form == "published" else ""
        raise ValueError(f"{name} has no form {form!r}{why}; choose one of {', '.join(module.FORMS)}")
    return module.FORMS[form]


def network(name: str, form: str | None = None, classes: int = 3) -> nn.Module:
    """The bare network, untrained, its first weights from torch's generator. classes: published parameter counts are of
    three.
    """
    return form_of(name, form).make(classes)


def build(
    name: str,
    classes: Sequence[str],
    seed: int,
    form: str | None = None,
    stretched: bool | None = None,
    start: dict[str, Tensor] | None = None,
) -> NetworkPeer:
    """A `Peer` that knows nothing yet. classes: names in the order of the scores. stretched: flow images stretched per
    image instead of at fixed scale (None: as the form says). start: pretrained weights, as `ma2mi.pretrain` gives them.
    """
    from deft.evaluation.peers.network import NetworkPeer

    return NetworkPeer(name, form_of(name, form), classes, seed, stretched, start)
