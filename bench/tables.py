#!/usr/bin/env python3
"""Writes what bench/run measured into the tables of README.md, between its markers.

tables.py README.md RESULTS COMMAND

RESULTS is the directory with cross.json, parts.json, takeover.json and setup.json, from the four programs. What is missing there, or was
not established, keeps its row and says so.
"""

import json
import pathlib
import re
import sys

from figures import figures
from results import NOTHING, REGIMES, Results, median, number, table
from rivals import rivals


def natural(name):
    """Orders names by their words and, within them, numbers by value: repetitions are run in random order."""
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", name)]


def environment(cross, command):
    known = cross["environment"]
    segments = cross["segments"]
    lines = [
        f"{known['date']}, {known['cpu']} (virtual machine: {known['virtual machine']}), {known['kernel']}, "
        f"{known['compiler']}, `{known['flags']}`, load before: {known['load average before'].split(' ')[0]}.",
        f"{cross['messages']:,} messages, each checked. Segments: {segments['valid']} valid; dropped: "
        f"{segments['regime_changed']} whose regime changed, {segments['preempted']} preempted.",
        f"Command: `{command}`.",
    ]
    if "left out" in known:
        lines.insert(2, f"Left out: {known['left out']}.")
    return "\n".join(lines)


def ratio_cell(here, metric):
    cells = [f"{median(ratios[metric])} × {control}" for control, ratios in here["ratios"].items()
             if ratios.get(metric, {}).get("established")]
    return "; ".join(cells) or NOTHING


PERCENTILES = ("p90", "p99", "p99.9", "p99.99")


def cross_process(results):
    """Times and rates of every transport in every scenario. What was not established has no row."""
    times, rates = [], []
    for one in results.all():
        for regime in REGIMES:
            here = results.in_regime(one, regime)
            values = here["values"]
            head = [one["scenario"], one["transport"], regime]
            if values.get("p50", {}).get("established"):
                times.append(head + [median(values["p50"])] + [median(values.get(name), False) for name in PERCENTILES] +
                             [ratio_cell(here, "p50"), str(values["p50"]["repetitions"])])
            for metric in ("rate", "per message"):
                if values.get(metric, {}).get("established"):
                    figure = values[metric]
                    rates.append(head + [f"{median(figure)} {figure['unit']}", ratio_cell(here, metric),
                                         str(figure["repetitions"])])
    return "\n\n".join([
        table(["scenario", "transport", "regime", "p50 ns", *PERCENTILES, "p50 to the control", "n"], times),
        table(["scenario", "transport", "regime", "median", "to the control", "n"], rates),
    ])


def parts(measured):
    rows = {}
    for one in measured["benchmarks"]:
        name = one["run_name"].removesuffix("/manual_time")
        if one.get("run_type") == "aggregate":
            rows.setdefault(name, {})[one["aggregate_name"]] = one
    lines = []
    for name, aggregates in sorted(rows.items(), key=lambda row: natural(row[0])):
        middle, spread = aggregates.get("median"), aggregates.get("cv")
        if not middle:
            continue
        each = number(1e9 / middle["items_per_second"])
        bandwidth = number(middle["bytes_per_second"] / 1e9) if "bytes_per_second" in middle else ""
        lines.append([name, each, f"{100 * spread['items_per_second']:.0f} %" if spread else NOTHING, bandwidth])
    return table(["benchmark", "ns per record", "spread (cv)", "GB/s"], lines)


QUANTILES = ("least", "q25", "median", "q75", "most")


def takeover(measured):
    rows = [[scene, *(number(found[one]) for one in QUANTILES), str(found["deaths"])] for scene, found in measured["scenes"].items()]
    return table(["who dies", "least µs", "25 %", "median", "75 %", "most", "n"], rows)


def setup(measured):
    """To make topics, to come to one, to have traffic among them, and to wait."""
    def spread(times):
        return f"{number(times['median'])} [{number(times['q1'])}–{number(times['q3'])}]"

    attach = [[str(one["topics"]), one["endpoint"], *(spread(one[step]) for step in ("open_us", "attach_us", "total_us")),
               number(one["resident_kib"]), str(one["repetitions"])] for one in measured["attach"]]
    topics = [[str(one["topics"]), number(one["create_us_per_topic"]), number(one["kib_per_topic"]), number(one["files_per_topic"])]
              for one in measured["topics"]]
    traffic = [[str(one["topics"]), str(one["attached"]), *([number(one[name]) for name in ("send_ns", "poll_ns", "empty_poll_ns")]
                if "error" not in one else [one["error"], "", ""])] for one in measured["traffic"]]
    idle = [[one["process"], number(one["wakeups_per_second"]), number(one["cpu_us_per_second"]), number(one["seconds"])]
            for one in measured["idle"]]
    return "\n\n".join([
        table(["topics of the bus", "who comes", "open the bus, µs", "attach, µs", "both, µs", "resident KiB", "n"], attach),
        table(["topics", "µs to create one", "KiB each", "files each"], topics),
        table(["topics", "attached to", "send ns", "poll ns", "poll of nothing, ns"], traffic),
        table(["idle", "wake-ups/s", "CPU µs/s", "over s"], idle),
    ])


def replace_between(text, name, content):
    pattern = re.compile(rf"(<!-- {name}:begin[^\n]*-->\n).*?(<!-- {name}:end -->)", re.DOTALL)
    if not pattern.search(text):
        sys.exit(f"tables.py: README.md has no markers {name}:begin and {name}:end")
    return pattern.sub(lambda match: match[1] + content + "\n" + match[2], text)


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    readme, directory, command = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]
    cross, measured_parts, measured_takeover, measured_setup = (
        json.loads((directory / f"{name}.json").read_text(encoding="utf-8")) for name in ("cross", "parts", "takeover", "setup"))
    results = Results(cross)
    text = readme.read_text(encoding="utf-8")
    for name, content in {
        "environment": environment(cross, command),
        "figures": figures(results, measured_setup),
        "rivals": rivals(results),
        "cross-process": cross_process(results),
        "parts": parts(measured_parts),
        "takeover": takeover(measured_takeover),
        "setup": setup(measured_setup),
    }.items():
        text = replace_between(text, name, content)
    readme.write_text(text, encoding="utf-8")


main()
