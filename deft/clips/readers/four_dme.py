"""4DME (Li et al. 2022, IEEE T-AFFC): 267 rows of micro-expressions, 60 fps. Inferred from loaders.

    4DME_Labelling_Micro_release v1.xlsx
    {sub_ID}/{fold_name}/*.jpg

Units carry remarks such as `AU4(k)`, whose meaning the sheet does not say: the unit is read, the remark kept verbatim
and reported. The sheet's further columns, one per unit, repeat the cell and are not read."""

from deft.clips.readers.layout import APEX, EMOTION, OFFSET, ONSET, SUBJECT, UNITS, Layout
from deft.clips.readers.sheets import Column

LAYOUT = Layout(
    files=("4dmelabellingmicro.*", "4dme.*micro.*", "4dme.*"),
    named=("4DME_Labelling_Micro_release v1.xlsx",),
    columns=(
        SUBJECT,
        Column("filename", ("fold_name", "folder", "Filename"), needed=True),
        EMOTION,
        ONSET,
        APEX,
        OFFSET,
        UNITS,
    ),
    rate=60.0,
    where=lambda entry: ((entry.row.text("subject"), entry.filename), (entry.filename,)),
)
