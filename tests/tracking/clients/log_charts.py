"""Logs charts that are described, not drawn: specifications of Vega, figures of Plotly.

Words: project. Prints what the server called the specification.
"""

import json
import sys

import plotly.graph_objects as go
import wandb

SPEC = {
    "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
    "data": {"name": "wandb"},
    "title": "${string:title}",
    "mark": {"type": "bar", "tooltip": True},
    "encoding": {
        "x": {"field": "${field:label}", "type": "nominal"},
        "y": {"field": "${field:value}", "type": "quantitative"},
        "color": {"field": "${field:label}", "type": "nominal"},
    },
}

chart = wandb.Api().create_custom_chart(
    entity="local",
    name="own-bars",
    display_name="Own bars",
    spec_type="vega2",
    access="private",
    spec=SPEC,
)
run = wandb.init(project=sys.argv[1], id="charts")
table = wandb.Table(
    columns=["method", "gain in %"], data=[["EMA", 1.2], ["SAM", 2.1], ["ALiBi", 0.4]]
)
fields = {"label": "method", "value": "gain in %"}
lines = go.Figure(go.Scatter(x=[1, 2, 3], y=[3, 1, 2], name="loss"), {"title": {"text": "Losses"}})
run.log(
    {
        "gains": wandb.plot_table(chart, table, fields, {"title": "What each gains"}),
        "nowhere": wandb.plot_table("local/never-made", table, fields),
        "lines": lines,
        "page": wandb.Html(lines.to_html(include_plotlyjs="cdn")),
    }
)
run.finish()
print(json.dumps(chart))
