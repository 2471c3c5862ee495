"""CASME (Yan et al. 2013, FG): 189 clips as loaders use it, 60 fps. Layout inferred from public loaders.

casme.xlsx
sub01/EP01_12/*.jpg
"""

from deft.clips.readers.layout import APEX, EMOTION, FILENAME, OFFSET, ONSET, SUBJECT, UNITS, Layout, Subjects

LAYOUT = Layout(
    files=("casme", "casme(coding|label|v).*"),
    named=("casme.xlsx",),
    columns=(EMOTION, SUBJECT, FILENAME, ONSET, APEX, OFFSET, UNITS),
    rate=60.0,
    subjects=Subjects("", 2),
    where=lambda entry: (("sub" + entry.subject, entry.filename),),
)
