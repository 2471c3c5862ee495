"""The report as one HTML file that needs no network: pictures inside, no script, every piece of text escaped.

The Content-Security-Policy in its head forbids the browser to fetch anything, so a hostile file name or answer could not
either. Colours follow the reader's light or dark setting; it prints on paper.
"""

import base64

from jinja2 import Environment, StrictUndefined

TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>deft report: {{ report.clip }}</title>
<style>
:root { --ink:#1d1f21; --soft:#5b6068; --paper:#fff; --line:#d9dce1; --card:#f6f7f9; --warn:#a33b00; --warnback:#fff4ec; --good:#0072b2; }
@media (prefers-color-scheme: dark) {
  :root { --ink:#e8e9eb; --soft:#a9afb8; --paper:#17191c; --line:#3a3f46; --card:#202327; --warn:#ffb38a; --warnback:#33231a; --good:#6bbcf0; }
  img { background:#fff; }
}
* { box-sizing:border-box; }
body { font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif; color:var(--ink); background:var(--paper); max-width:60rem; margin:0 auto; padding:2rem 1.2rem 4rem; }
h1 { font-size:1.6rem; line-height:1.25; margin:.2rem 0; overflow-wrap:anywhere; }
h2 { font-size:1.15rem; margin:2.4rem 0 .5rem; border-top:1px solid var(--line); padding-top:1.2rem; }
p, li { max-width:44rem; } .soft { color:var(--soft); font-size:.9rem; }
img { max-width:100%; height:auto; border-radius:4px; display:block; }
figure { margin:.8rem 0; } figcaption { color:var(--soft); font-size:.88rem; margin-top:.35rem; max-width:44rem; }
.pair { display:flex; gap:1rem; flex-wrap:wrap; } .pair figure { flex:1 1 16rem; }
.warn { background:var(--warnback); border-left:4px solid var(--warn); padding:.8rem 1rem; border-radius:4px; margin:1rem 0; }
.warn h2 { border:0; margin:0 0 .3rem; padding:0; color:var(--warn); font-size:1.05rem; }
.answer { background:var(--card); border:1px solid var(--line); border-radius:6px; padding:1rem; overflow-wrap:anywhere; }
.tag { display:inline-block; font-size:.78rem; font-weight:600; color:var(--warn); border:1px solid var(--warn); border-radius:3px; padding:0 .4rem; }
.scroll { overflow-x:auto; } table { border-collapse:collapse; font-size:.9rem; } th, td { text-align:left; padding:.25rem .8rem .25rem 0; border-bottom:1px solid var(--line); font-variant-numeric:tabular-nums; }
.yes { color:var(--good); font-weight:600; } .no { color:var(--warn); font-weight:600; }
@media print { body { max-width:none; padding:0; } figure, .answer, .warn { break-inside:avoid; } }
</style>
</head>
<body>
<p class="soft">deft · report on one clip · profile {{ report.profile }} · {{ report.commit }}</p>
<h1>{{ report.clip }}</h1>
<p class="soft">{{ report.frames }} frames of {{ report.size[0] }} × {{ report.size[1] }} px at {{ '%g' % report.fps }} frames per second{% if report.fps_assumed %} (assumed: the clip does not say){% endif %} ·
face found by {{ report.face }} · landmarks: {{ report.landmarks }}</p>
{% for note in report.notes %}<p class="warn">{{ note }}</p>
{% endfor %}
<section class="warn" id="limits"><h2>What this cannot be used for</h2>
<p>{{ limits[0] }}</p>
<ul>{% for line in limits[1:] %}<li>{{ line }}</li>{% endfor %}</ul></section>

<h2>When: onset, apex, offset</h2>
<figure><img alt="Frames of the clip from onset to offset" src="{{ pictures.strip }}">
<figcaption>Aligned frames. One similarity for the whole clip: aligning every frame by itself would erase the movement.</figcaption></figure>
<figure><img alt="Motion energy over time with onset, apex and offset" src="{{ pictures.energy }}">
<figcaption>{{ report.moments.rule }}</figcaption></figure>
<div class="scroll"><table><tr><th>moment</th><th>frame</th><th>time</th><th>where from</th></tr>
{% for name in ('onset', 'apex', 'offset') %}<tr><td>{{ name }}</td><td>{{ report.moments[name] }}</td><td>{{ '%.0f' % (1000 * report.moments[name] / report.fps) }} ms</td>
<td>{{ 'found from the motion' if name in report.moments.found else 'given by you' }}</td></tr>
{% endfor %}</table></div>

<h2>The motion, magnified</h2>
<div class="pair"><figure><img alt="The clip as it is, moving from onset to apex and back" src="{{ pictures.plain }}"><figcaption>Onset to apex and back, as filmed.</figcaption></figure>
<figure><img alt="The same movement magnified {{ magnify }} times" src="{{ pictures.magnified }}"><figcaption>The same movement, magnified {{ magnify }} times along the measured flow. Noise is magnified too.</figcaption></figure></div>
<figure><img alt="Optical flow from onset to apex with its colour wheel" src="{{ pictures.flow }}">
<figcaption>Flow from onset to apex without the head's own motion. Colour is direction, strength is speed; the wheel is the key.</figcaption></figure>

<h2>Where: 36 regions against the noise floor</h2>
<figure><img alt="Speed per facial region, left and right, with the noise floor" src="{{ pictures.regions }}">
<figcaption>The grey band is the noise floor of this clip, {{ '%.3f' % report.noise_px }} px: what regions that should be still seem to move. A statement needs the dashed lines;
a grey bar says nothing. Left and right are the person's.</figcaption></figure>

<h2>Evidence per action unit</h2>
<figure><img alt="Probability of each action unit and side" src="{{ pictures.units }}">
<figcaption>{{ report.evidence.note }}</figcaption></figure>
{% if report.evidence.moved %}<div class="scroll"><table><tr><th>unit</th><th>side</th><th>name</th><th>probability</th><th>most telling region</th></tr>
{% for u in report.evidence.moved %}<tr><td>AU{{ u.unit }}</td><td>{{ u.side }}</td><td>{{ u.name }}</td><td>{{ '%.2f' % u.probability }}</td>
<td>{% for r in u.rows[:1] %}{{ r.region }} {{ r.side }}: {{ r.direction }} {{ '%.2f' % r.px }} px, {{ '%.1f' % r.z }} × its noise{% endfor %}</td></tr>
{% endfor %}</table></div>{% else %}<p>No unit reaches a probability of one half.</p>{% endif %}

<h2>The model's answer</h2>
{% if report.answer.text %}
<div class="answer"><p><span class="tag">TRAINED ON SIMULATED FACES</span></p>
<p>{{ report.answer.text }}</p>
{% if report.answer.statements %}<ul>{% for s in report.answer.statements %}<li><span class="{{ 'yes' if s.supported else 'no' }}">{{ '✓ measured' if s.supported else '✗ not measured' }}</span> {{ s.text }}</li>
{% endfor %}</ul>{% else %}<p class="soft">The text makes no statement about units or motion that could be checked.</p>{% endif %}
{% if report.answer.scores %}<div class="scroll"><table><tr><th>emotion</th><th>share of likelihood</th></tr>
{% for name, value in report.answer.scores.items() %}<tr><td>{{ name }}</td><td>{{ '%.2f' % value }}</td></tr>{% endfor %}</table></div>{% endif %}
<p class="soft">{{ report.answer.source }}</p></div>
{% else %}<div class="answer"><p>{{ report.answer.why_not }}</p></div>{% endif %}
<p class="soft">Everything in numbers: report.json beside this file.</p>
</body>
</html>
"""

LIMITS = (
    "Not a lie detector. A movement of the face is not an intention, a truth or a feeling, and this program has never been shown a real one.",
    "Every network behind the answer was trained on simulated faces. Nothing learned there is claimed to hold for people; its error on this clip is unknown.",
    "Not for decisions about a person: hiring, policing, borders, school, insurance, medicine, credit.",
    "The flow, the regions and the noise floor are measured on this clip; units and emotion are inferred from them.",
    "Show faces only with their owners' consent. This file contains the frames: treat it as you would the video.",
)


def data_url(content, kind="image/png"):
    """Bytes of a picture -> the text that carries it inside the page."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def html(report, pictures, magnify):
    """The page. report: the dict of report.json; pictures: name -> data URL. A field the page needs and lacks is an error."""
    engine = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return engine.from_string(TEMPLATE).render(report=report, pictures=pictures, limits=LIMITS, magnify=magnify)
