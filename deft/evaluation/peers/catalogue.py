"""The systems of other papers by name: `build` gives one that learns and answers, `network` a bare network, also in
its published size.

No network is loaded before one is asked for: lists of names are read where torch is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING

from deft import systems

if TYPE_CHECKING:
    from torch import nn

    from deft.evaluation.peers.inputs import Peer
    from deft.evaluation.peers.training import Form

NAMES = (systems.MAJORITY, *systems.FIELD)
NETWORKS = tuple(n for n in systems.FIELD if systems.SYSTEMS[n].form and not systems.SYSTEMS[n].language)
READS, NOT_BUILT = {name: systems.SYSTEMS[name].note for name in NAMES}, systems.NOT_BUILT


def _module(name: str) -> ModuleType:
    from deft.evaluation.peers import (  # torch, if asked for
        aullm,
        biwoof,
        dynamic_image,
        fmanet,
        htnet,
        lbptop,
        ma2mi,
        majority,
        mdmo,
        mellm,
        merclip_mixing,
        microattention,
        mmnet,
        mpt,
        offapexnet,
        rcn,
        ststnet,
    )

    if name not in NAMES:
        unknown = f": it is not built ({NOT_BUILT[name]})" if name in NOT_BUILT else ""
        raise ValueError(f"no peer is called {name!r}{unknown}; choose one of {', '.join(NAMES)}")
    plain = (aullm, biwoof, dynamic_image, lbptop, majority, mdmo, mellm, mpt)
    nets = (fmanet, htnet, ma2mi, merclip_mixing, microattention, mmnet, offapexnet, rcn, ststnet)
    wanted = systems.SYSTEMS[name].module or name
    return next(module for module in (*plain, *nets) if module.__name__.endswith(f".{wanted}"))


def form_of(name: str, form: str | None = None) -> Form:
    """How network `name` is made, fed and trained; form None: the one that the demo runs. ValueError for what does not
    exist, with the reason.
    """
    module = _module(name)
    if name not in NETWORKS:
        raise ValueError(f"{name} is no network; those are {', '.join(NETWORKS)}")
    form = form or systems.SYSTEMS[name].form
    if form not in module.FORMS:
        why = f"; there is no published form, unknown is {module.UNKNOWN}" if form == "published" else ""
        raise ValueError(f"{name} has no form {form!r}{why}; choose one of {', '.join(module.FORMS)}")
    return module.FORMS[form]


def network(name: str, form: str | None = None, classes: int = 3) -> nn.Module:
    """The bare network, untrained, its first weights from torch's generator. classes: published parameter counts are of
    three.
    """
    return form_of(name, form).make(classes)


def build(name: str, classes: Sequence[str], seed: int, **how: object) -> Peer:
    """A `Peer` that knows nothing yet. classes: names in the order of the scores.

    how: what a system offers beside these. Networks: `form`; `stretched`, flow images stretched per image instead of at
    fixed scale (None: as the form says); `start`, pretrained weights, as `ma2mi.pretrain` gives them. Systems with a
    language model: `base`, the folder of a pretrained one (None: a small one from a random start). TypeError for what
    it does not offer.
    """
    module = _module(name)
    if hasattr(module, "peer"):
        return module.peer(classes, seed, **how)
    from deft.evaluation.peers.training import NetworkPeer

    if systems.SYSTEMS[name].stretched:
        how.setdefault("stretched", True)
    return NetworkPeer(name, form_of(name, how.pop("form", None)), classes, seed, **how)
