"""The systems of other papers by name: `build` gives one that learns and answers, `network` a bare network, also in
its published size.

No network is loaded before one is asked for: lists of names are read where torch is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

    from deft.evaluation.peers.inputs import Peer
    from deft.evaluation.peers.training import Form

# Peers without a network: name -> (module, what it reads)
_PLAIN = {
    "majority": ("majority", "nothing: class shares of the training clips"),
    "lbptop": ("lbptop", "five frames of the face box"),
    "mdmo": ("mdmo", "flow onset to every frame in 36 regions"),
    "biwoof": ("biwoof", "flow and strain of the rise in 5 x 5 blocks"),
    "dynamic-image": ("dynamic_image", "dynamic images of the clip, its rise and its fall in 10 x 8 blocks"),
}
_RISE, _PAIR, _THREE = "flow u, v, strain of the rise", "apex minus onset and the onset", "onset, apex and offset frame"
# Networks: name -> (module, what it reads, the form that is taken where none is named)
_NETWORKS = {
    "offapexnet": ("offapexnet", "flow u, v of the rise, 28 px", "small"),
    "ststnet": ("ststnet", f"{_RISE}, 28 px", "small"),
    "rcn": ("rcn", f"{_RISE}, 28 px", "small"),
    "htnet": ("htnet", f"four crops of 32 px of {_RISE}, 128 px", "small"),
    "htnet-one-token": ("htnet", f"four crops of 14 px of {_RISE}, 28 px", "one-token"),
    "fmanet": ("fmanet", "flow u, v, magnitude of rise and fall, 28 px", "small"),
    "mmnet": ("mmnet", f"{_PAIR}, 64 px", "small"),
    "microattention": ("microattention", f"{_RISE}, 28 px", "small"),
    "ma2mi": ("ma2mi", f"{_PAIR}, 64 px; pretrained on macro-expressions if given `start`", "small"),
    "frames": ("merclip_mixing", f"{_THREE}, 64 px", "plain"),
    "merclip-mixing": ("merclip_mixing", f"{_THREE}, 64 px, looks mixed in training", "small"),
}
_ROWS = {**_PLAIN, **_NETWORKS}
NETWORKS, NAMES = tuple(_NETWORKS), tuple(_ROWS)
READS = {name: row[1] for name, row in _ROWS.items()}

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
        biwoof,
        dynamic_image,
        fmanet,
        htnet,
        lbptop,
        ma2mi,
        majority,
        mdmo,
        merclip_mixing,
        microattention,
        mmnet,
        offapexnet,
        rcn,
        ststnet,
    )

    if name not in _ROWS:
        unknown = f": it is not built ({NOT_BUILT[name]})" if name in NOT_BUILT else ""
        raise ValueError(f"no peer is called {name!r}{unknown}; choose one of {', '.join(NAMES)}")
    plain = (biwoof, dynamic_image, lbptop, majority, mdmo)
    nets = (fmanet, htnet, ma2mi, merclip_mixing, microattention, mmnet, offapexnet, rcn, ststnet)
    return {module.__name__.rpartition(".")[2]: module for module in (*plain, *nets)}[_ROWS[name][0]]


def form_of(name: str, form: str | None = None) -> Form:
    """How network `name` is made, fed and trained; form None: the one of its row. ValueError for what does not
    exist, with the reason.
    """
    module = _module(name)
    if name in _PLAIN:
        raise ValueError(f"{name} is no network; those are {', '.join(NETWORKS)}")
    form = form or _NETWORKS[name][2]
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
) -> Peer:
    """A `Peer` that knows nothing yet. classes: names in the order of the scores. The last three are of networks alone.
    stretched: flow images stretched per image instead of at fixed scale (None: as the form says). start: pretrained
    weights, as `ma2mi.pretrain` gives them.
    """
    if name in _PLAIN:
        if (form, stretched, start) != (None, None, None):
            raise ValueError(f"{name} is no network: it has no form, no stretched flow image and no weights to start")
        return _module(name).peer(classes, seed)
    form_ = form_of(name, form)
    from deft.evaluation.peers.training import NetworkPeer

    return NetworkPeer(name, form_, classes, seed, stretched, start)
