"""Folds of a protocol: leave one group out, or one fixed division; a validation part of the training subjects; the
checks.

Validation subjects are dealt in turn, not drawn: of every data set an eighth of its training subjects, at least one,
beginning where the fold before stopped, so that nobody serves more often than others. One who alone shows a class or
wears a look stays in training. The published protocols have no validation part (training is everybody but the subject
tested): who chooses nothing trains on both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from deft.clips import splits
from deft.evaluation.protocols.members import ProtocolError

Fold = tuple[list[str], list[str], list[str]]  # clip ids of training, validation, test
SHARE = 8  # one in so many training subjects validates


def leave_out(members: pd.DataFrame, group: str) -> list[Fold]:
    """One fold per value of the column `group` ("person" or "dataset"): it is tested, everybody else is trained on."""
    names, tokens = sorted(members[group].unique()), shown(members)
    return [fold(members, members[group] == one, members[group] != one, n, tokens) for n, one in enumerate(names)]


def dealt(members: pd.DataFrame, folds: int, seed: int) -> list[Fold]:
    """So many subject-disjoint folds, dealt as those of the benchmark (`deft.clips.splits`).

    Strata are looks; where none is known, the commonest class of each subject.
    """
    people = members.groupby("person", sort=True).agg(
        dataset=("dataset", "first"), look=("look", "first"), truth=("truth", lambda of: str(of.mode()[0]))
    )
    if (people["look"] == -1).all():
        people["look"] = people["truth"].factorize(sort=True)[0]
    if folds < 2 or len(people) < folds:
        raise ProtocolError(f"{folds} folds of {len(people)} subjects: take at least 2, and not more than there are")
    deal = splits.make_folds(people.rename_axis("subject").reset_index()[["subject", "dataset", "look"]], folds, seed)
    out = []
    for number in range(folds):
        role = members["person"].map(splits.roles(deal, number))
        learn = role.where(members["condition"] != "broken", "")
        out.append(
            (_ids(members, learn == "train"), _ids(members, learn == "validation"), _ids(members, role == "test"))
        )
    return out


def fold(
    members: pd.DataFrame,
    tested: pd.Series,
    trained: pd.Series,
    number: int,
    tokens: Mapping[str, frozenset] | None = None,
) -> Fold:
    """One fold from masks over `members`; part of the training people validates. tokens: of `shown`.

    A broken clip of the benchmark (its emotion does not go with the look) is tested, and never trained on.
    """
    trained = (trained & (members["condition"] != "broken")).to_numpy()
    who = members["person"].to_numpy()
    people = dict(zip(who[trained], members["dataset"].to_numpy()[trained]))
    chosen = set(validators(people, tokens or shown(members[trained]), number))
    aside = trained & np.fromiter((name in chosen for name in who), bool, len(who))
    return _ids(members, trained & ~aside), _ids(members, aside), _ids(members, tested)


def _ids(members: pd.DataFrame, mask: pd.Series | np.ndarray) -> list[str]:
    return members["clip"].to_numpy()[np.asarray(mask)].tolist()


def shown(members: pd.DataFrame) -> dict[str, frozenset]:
    """person -> the classes (or units) and looks that are seen with this person."""
    found: dict[str, set] = {}
    for name, truth, look in zip(members["person"], members["truth"], members["look"]):
        found.setdefault(name, {("look", look)}).update(truth if isinstance(truth, tuple) else (truth,))
    return {name: frozenset(of) for name, of in found.items()}


def validators(people: Mapping[str, str], tokens: Mapping[str, frozenset], number: int) -> list[str]:
    """Who of the training people (person -> data set) validates in fold `number`; nobody of fewer than three."""
    holders, chosen = Counter(token for name in people for token in tokens[name]), []
    for dataset in sorted(set(people.values())):
        names = sorted(name for name, of in people.items() if of == dataset)
        wanted = max(len(names) // SHARE, 1) if len(people) > 2 else 0
        first = number * wanted
        for name in (names[(first + step) % len(names)] for step in range(len(names))):
            if wanted and all(holders[token] > 1 for token in tokens[name]):
                chosen.append(name)
                holders.subtract(tokens[name])
                wanted -= 1
    return chosen


def check(folds: Sequence[Fold], members: pd.DataFrame, tested: np.ndarray) -> None:
    """ProtocolError, naming fold, clip and remedy, for folds that break a rule.

    A clip nobody knows; a person in two parts of a fold; fewer than two classes to learn; a clip that is tested twice
    or never. tested: mask over `members` of the clips that are tested, each exactly once; no other may be.
    """
    who, truth, place = (dict(zip(members["clip"], members[name])) for name in ("person", "truth", "place"))
    times: dict[str, list[int]] = {}
    for number, parts in enumerate(folds):
        owner: dict[str, str] = {}
        for role, clips in zip(("training", "validation", "test"), parts):
            for clip in clips:
                if clip not in who:
                    raise ProtocolError(f"fold {number} names clip {clip}, no member of this protocol; make folds anew")
                if (other := owner.setdefault(who[clip], role)) != role:
                    raise ProtocolError(
                        f"fold {number} has subject {who[clip]} in its {other} and in its {role} part, "
                        f"{place[clip]}: all clips of a person belong to one part, so move them there"
                    )
        if len({truth[clip] for clip in parts[0]}) < 2:
            raise ProtocolError(
                f"fold {number} would train on {len(parts[0])} clips of fewer than two classes; add subjects or sets"
            )
        for clip in parts[2]:
            times.setdefault(clip, []).append(number)
    for clip, must in zip(members["clip"], tested):
        found = times.get(clip, [])
        if len(found) != int(must):
            how = f"{len(found)} times, in folds {', '.join(map(str, found))}" if found else "never"
            raise ProtocolError(
                f"{place[clip]} is tested {how}; "
                + ("every test clip is tested exactly once" if must else "it belongs to the training part")
            )
