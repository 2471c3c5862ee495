"""SMIC (Li et al. 2013, FG): three cameras, HS 164 clips of 16 subjects at 100 fps, VIS and NIR 71 at 25 fps.

    SMIC-HS-E_annotation.xlsx, sheets HS and VIS (seen); SMIC-NIR-E_annotation.xlsx, sheet NIR (not seen)
    HS/s20/s20_ne_01/image17581039.jpg, cropped HS/s1/micro/negative/s1_ne_01/reg_image000123.bmp

A row holds up to three movements (OnsetF, Onset2F, Onset3F): each is a clip. There is no action unit. The edition of
2019 has apexes (ApexF); in the others the apex is the middle of onset and offset, marked as estimated. Folders pad
their numbers with zeros where the sheet does not; re-packed ones count their frames from the start of the recording
(FirstF). Lines of text below the table are reported and become no clips."""

from collections.abc import Iterator

from deft.clips.readers import layout
from deft.clips.readers.layout import EMOTION, FILENAME, SUBJECT, Entry, Layout, Subjects
from deft.clips.readers.sheets import Column, Table

INTERVALS = ("", "2", "3")


def _layout(camera: str, rate: float, files: tuple[str, ...], named: str) -> Layout:
    moments = (
        Column("onset", ("OnsetF",)),
        Column("offset", ("OffsetF",)),
        Column("onset2", ("Onset2F",), quiet=True),
        Column("offset2", ("Offset2F",), quiet=True),
        Column("onset3", ("Onset3F",), quiet=True),
        Column("offset3", ("Offset3F",), quiet=True),
        Column("apex", ("ApexF",), quiet=True),
        Column("apex2", ("Apex2F",), quiet=True),
        Column("apex3", ("Apex3F",), quiet=True),
    )
    bounds = (Column("first", ("FirstF",), quiet=True), Column("last", ("LastF",), quiet=True))
    return Layout(
        files=files,
        named=(named,),
        sheets=(camera.upper(),),
        only_named=True,
        columns=(SUBJECT, FILENAME, *moments, *bounds, EMOTION),
        rate=rate,
        subjects=Subjects("s", 2),
        key=("subject", "filename", "onset"),
        camera=camera,
        where=lambda entry: ((entry.filename,),),
    )


HS = _layout("hs", 100.0, ("smichs.*", "smic.*annotation.*"), "SMIC-HS-E_annotation.xlsx")
VIS = _layout("vis", 25.0, ("smicvis.*", "smichs.*", "smic.*annotation.*"), "SMIC-HS-E_annotation.xlsx")
NIR = _layout("nir", 25.0, ("smicnir.*", "smic.*annotation.*"), "SMIC-NIR-E_annotation.xlsx")


def leave_remarks(table: Table) -> None:
    """Take the lines below the last movement out of the table and report them: SMIC's sheet ends with remarks in
    words.
    """
    moments = [name + number for name in ("onset", "offset") for number in INTERVALS]
    moving = [at for at, row in enumerate(table.rows) if any(row.text(name) for name in moments)]
    end = moving[-1] + 1 if moving else len(table.rows)  # a table without any movement is broken, not a remark
    for row in table.rows[end:]:
        row.odd(
            "subject",
            "text below the table, without a frame number; no clip",
            value=" ".join(filter(None, map(row.text, row.values))),
        )
    del table.rows[end:]


def entries(table: Table, form: Layout) -> Iterator[Entry]:
    """One entry per movement: a row of the sheet may hold up to three."""
    leave_remarks(table)
    for row, subject in zip(table.rows, layout.subject_ids(table, form.subjects)):
        first, last = row.whole("first"), row.whole("last")
        for number in INTERVALS:
            onset, offset = row.whole("onset" + number), row.whole("offset" + number)
            if number and not onset and not offset:
                continue  # empty, or 0 for "no further movement"
            entry = Entry(
                row,
                subject,
                row.text("filename"),
                onset,
                row.whole("apex" + number, quiet=True),
                offset,
                emotion=row.text("emotion"),
                rate=form.rate,
                has_apex=table.has("apex"),
                columns={name: name + number for name in ("onset", "apex", "offset")},
                begins=first,
            )
            for name, moment, outside in (
                ("onset", onset, None not in (onset, first) and onset < first),
                ("offset", offset, None not in (offset, last) and offset > last),
            ):
                if outside:
                    entry.odd(
                        name, f"{name} {moment} lies outside the recorded frames {first}..{last}; kept as written"
                    )
            if number:
                entry.marks.append(f"interval {number} of its row")
            yield entry
