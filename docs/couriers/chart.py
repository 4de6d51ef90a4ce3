#!/usr/bin/env python3
"""Draws docs/couriers/chart.svg from the results beside it.

    silbo-sim trace --contacts C.csv --messages M.csv --ttl 24h --router silbo --json > "docs/couriers/NAME, 24 h.silbo.json"
    python3 docs/couriers/chart.py

One file a run; what stands before the first full stop of its name is the row it belongs to.
"""
import json
from collections import defaultdict
from html import escape
from pathlib import Path

HERE = Path(__file__).parent
NAMES = {"silbo": "Silbo", "spray-8": "spray and wait, 8 copies", "epidemic-vaccine": "epidemic with receipts, endless buffers"}
COLOURS = {"silbo": "#1b6e53", "spray-8": "#c9b37e", "epidemic-vaccine": "#8c9bb0"}
LEFT, BAR, HEIGHT, GAP, WIDTH = 190, 420, 16, 18, 820


def rows():
    """The runs of each row, in the order of NAMES."""
    found = defaultdict(dict)
    for path in sorted(HERE.glob("*.json")):
        run = json.loads(path.read_text())
        found[path.name.split(".")[0]][run["router"]] = run
    return {row: [runs[name] for name in NAMES if name in runs] for row, runs in sorted(found.items())}


def text(x, y, words, **style):
    attributes = "".join(f' {key.replace("_", "-")}="{value}"' for key, value in style.items())
    return f'<text x="{x}" y="{y}"{attributes}>{escape(words)}</text>'


def draw(table):
    out, y = [], 58
    for row, runs in table.items():
        out.append(text(LEFT - 10, y + 12, row, text_anchor="end", font_weight="bold"))
        people = f'{runs[0]["nodes"]} people, {runs[0]["messages"]} messages'
        out.append(text(LEFT - 10, y + 27, people, text_anchor="end", fill="#666", font_size="11"))
        for run in runs:
            share = run["oracle_ratio"] or 0.0
            colour = COLOURS[run["router"]]
            out.append(f'<rect x="{LEFT}" y="{y}" width="{BAR * share:.1f}" height="{HEIGHT - 2}" fill="{colour}"/>')
            figures = f'{100 * share:.1f} %   {run["transmissions_per_message"]:.1f} copies a message'
            out.append(text(LEFT + BAR + 8, y + 12, figures))
            y += HEIGHT
        y += GAP
    out.append(f'<line x1="{LEFT + BAR}" y1="46" x2="{LEFT + BAR}" y2="{y - GAP + 6}" stroke="#333" stroke-dasharray="3 3"/>')
    x = LEFT
    for name, words in NAMES.items():
        out.append(f'<rect x="{x}" y="{y}" width="12" height="12" fill="{COLOURS[name]}"/>')
        out.append(text(x + 18, y + 11, words))
        x += 40 + 7 * len(words)
    title = text(LEFT, 24, "Delivered, of what is possible at all (dashed): buffers of 400 envelopes", font_size="15")
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 26}" font-family="sans-serif" font-size="12">'
    back = f'<rect width="{WIDTH}" height="{y + 26}" fill="#fff"/>'
    return "\n".join([head, back, title, *out, "</svg>", ""])


if __name__ == "__main__":
    (HERE / "chart.svg").write_text(draw(rows()))
