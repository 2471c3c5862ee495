"""The tables, one file each (T4: `deft.evaluation.constructions`; T8, T8b: `flow_study`, `flow_effect`): pure functions
of the files under work/<profile>, no model and no torch.

A table is long (one row per thing and condition) with plain numbers, so that a reader, a test and a figure read the
same cells.  Column `kind` keeps simulated, reproduced and reported numbers apart.  Scores pool counts over folds,
average over draws of training (column `seed` of predictions.jsonl), and carry a 95 % interval (`*_low`, `*_high`) over
subjects within looks and over draws; column `interval` says "subjects" where one draw was made.  With few draws an
interval may enclose the truth less often than 95 % says (`metrics.coverage`).  Differences are paired: the same
replicates, and only the draws that both sides have.  T2, T3 and T7 take a profile's name or
`deft.evaluation.source.Answers`."""

from deft.evaluation.tables.common import (
    CONDITIONS,
    FLOOR,
    both_answered,
    compared,
    constant,
    difference,
    nll_sample,
    predictions,
    recognition,
    sample,
    told,
)
from deft.evaluation.tables.present import quote, save, show
from deft.evaluation.tables.t1_data import t1
from deft.evaluation.tables.t2_main import by_benchmark, t2
from deft.evaluation.tables.t2b_abstention import t2b
from deft.evaluation.tables.t3_experts import t3
from deft.evaluation.tables.t5_probes import t5
from deft.evaluation.tables.t5b_exchange import answered, t5b
from deft.evaluation.tables.t6_cross import t6
from deft.evaluation.tables.t7_texts import t7
from deft.evaluation.tables.t7b_still import t7b
from deft.evaluation.tables.t9_cost import parameters, t9

__all__ = [
    "CONDITIONS",
    "FLOOR",
    "answered",
    "both_answered",
    "by_benchmark",
    "compared",
    "constant",
    "difference",
    "nll_sample",
    "parameters",
    "predictions",
    "quote",
    "recognition",
    "sample",
    "save",
    "show",
    "t1",
    "t2",
    "t2b",
    "t3",
    "t5",
    "t5b",
    "t6",
    "t7",
    "t7b",
    "t9",
    "told",
]
