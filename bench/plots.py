"""The plots of a run of scripts/peers.sh, as SVG.

    python bench/plots.py bench/results/CPU.json docs

writes peers-ratio.svg, peers-light.svg and peers-cost.svg into the folder. --png writes PNG
beside them, to look at."""
import argparse
import json
import math
import os
import sys

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, NullFormatter

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "peers"))
from cases import COMPILE, JAX, ONEDNN, ORT, SHAPES, TENSORFLOW, TORCH, shape_name    # noqa: E402
from targets import light, peer_ns    # noqa: E402

# Okabe and Ito's colours; hatches and markers tell them apart without colour.
LOOK = {
    TORCH: ("#0072B2", "", "s"),
    COMPILE: ("#56B4E9", "///", "D"),
    JAX: ("#E69F00", "", "^"),
    TENSORFLOW: ("#444444", "", "v"),
    ORT: ("#CC79A7", "\\\\\\", "P"),
    ONEDNN: ("#009E73", "", "X"),
}
XENT = "#D55E00"
COLUMNS = [shape_name(*shape) for shape in SHAPES]
TITLES = {"cross-entropy": "cross-entropy and its gradient", "softmax": "softmax", "log_softmax": "log-softmax"}
PEERS = {"cross-entropy": [TORCH, COMPILE, JAX, TENSORFLOW], "softmax": [TORCH, JAX, ORT, ONEDNN],
         "log_softmax": [TORCH, JAX, ORT, ONEDNN]}


def plain(value, _=None):
    return f"{value:g}"


def shape_label(column):
    return column.replace("x", "\n× ")


def sections(document):
    result = {}
    for case in document["cases"]:
        result.setdefault(case["section"], {})[shape_name(case["n"], case["c"])] = case
    return result


def set_log_y(axes, label):
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(plain))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel(label)
    axes.grid(axis="y", which="major", color="0.8", linewidth=0.6)
    axes.set_axisbelow(True)


def nice_ticks(low, high):
    return [m * 10.0 ** e for e in range(-4, 6) for m in (1, 2, 5) if low <= m * 10.0 ** e <= high]


def bars(axes, title, columns, series, labels):
    """Ratios as bars that begin at 1: upwards xent is faster, downwards slower."""
    width = 0.84 / len(series)
    ends = [1]
    for i, (name, ratios, color, hatch) in enumerate(series):
        for x, column in enumerate(columns):
            if column not in ratios:
                continue
            at = x + (i - (len(series) - 1) / 2) * width
            axes.bar(at, ratios[column] - 1, width * 0.92, bottom=1, color=color, hatch=hatch, edgecolor="white",
                     linewidth=0)
            up = ratios[column] >= 1
            axes.annotate(f"{ratios[column]:.2g}" if ratios[column] < 9.95 else f"{ratios[column]:.0f}",
                          (at, ratios[column]), (0, 2 if up else -2), textcoords="offset points", ha="center",
                          va="bottom" if up else "top", fontsize=6.3)
            ends.append(ratios[column])
    axes.axhline(1, color="black", linewidth=1)
    set_log_y(axes, "times as fast as the peer")
    axes.set_ylim(min(ends) / 1.35, max(ends) * 1.4)
    axes.set_yticks(nice_ticks(min(ends) / 1.35, max(ends) * 1.4))
    axes.set_xticks(range(len(columns)), [labels(column) for column in columns])
    axes.tick_params(axis="x", length=0)
    axes.set_title(title, loc="left", fontweight="bold", pad=20)
    axes.legend(handles=[Patch(facecolor=color, hatch=hatch, edgecolor="white", label=name)
                         for name, _, color, hatch in series], ncols=len(series), frameon=False,
                loc="lower left", bbox_to_anchor=(-0.01, 0.985), handlelength=1.2, columnspacing=1, borderpad=0)


def plot_ratios(document):
    own = f"xent {document['tier']}"
    parts = sections(document)
    figure, grid = plt.subplots(2, 2, figsize=(14, 8.2), layout="constrained")

    def ratios(section, peer, suffix=""):
        return {column: peer_ns(case, peer) / case["ns"][own + suffix] for column, case in parts.get(section, {}).items()
                if peer_ns(case, peer) and own + suffix in case["ns"]}

    for axes, section in zip(grid.flat, TITLES):
        series = [(peer, ratios(section, peer), *LOOK[peer][:2]) for peer in PEERS[section]]
        columns = [column for column in COLUMNS if column in parts.get(section, {})]
        bars(axes, TITLES[section], columns, [s for s in series if s[1]] or series, shape_label)
    others = [("log-sum-exp", ratios("lse", TORCH), "#0072B2", ""),
              ("bf16", ratios("cross-entropy, 16 bit", TORCH, " bf16"), "#56B4E9", "///"),
              ("strided classes", ratios("cross-entropy, strided", TORCH), "#222222", ""),
              ("f64", ratios("cross-entropy, f64", TORCH), "#B0B0B0", "\\\\\\")]
    columns = [column for column in COLUMNS if any(column in s[1] for s in others)]
    bars(grid[1, 1], "against PyTorch", columns, others, shape_label)
    figure.suptitle(f"xent ({document['tier']}) beside its peers on one thread of {document['cpu']['name']}, "
                    "by shape (rows × classes); above 1 xent is faster", fontsize=11)
    return figure


def plot_light(document):
    parts = sections(document)
    figure, grid = plt.subplots(1, 3, figsize=(13, 4.8), layout="constrained", sharey=True)
    handles = {}
    for axes, section in zip(grid, TITLES):
        cases = [(column, parts[section][column]) for column in COLUMNS if column in parts.get(section, {})]
        if not cases:
            continue
        elements = [case["n"] * case["c"] for _, case in cases]
        edges = [x - 0.5 for x in range(len(cases) + 1)]
        limits = [light(case) / e for (_, case), e in zip(cases, elements)]
        handles["faster than the machine can"] = axes.stairs(limits, edges, baseline=1e-3, fill=True, color="0.87")
        for name, values, style in (
                ("exp in L1", [case["ns"]["exp"] / 1024 for _, case in cases], "--"),
                ("memcpy of the logits", [case["ns"]["memcpy"] / e for (_, case), e in zip(cases, elements)], ":")):
            handles[name] = axes.stairs(values, edges, baseline=None, color="0.35", linestyle=style, linewidth=1.3)
        for peer, aside in zip(PEERS[section], (-0.3, -0.16, 0.16, 0.3)):
            color, _, marker = LOOK[peer]
            points = [(x + aside, peer_ns(case, peer) / e) for x, ((_, case), e) in enumerate(zip(cases, elements))
                      if peer_ns(case, peer)]
            if points:
                handles[peer], = axes.plot(*zip(*points), marker, color=color, markersize=6.5, markeredgewidth=0)
        for tier, color, face in ((document["tier"], XENT, XENT), ("avx2", XENT, "white")):
            points = [(x, case["ns"][f"xent {tier}"] / e) for x, ((_, case), e) in enumerate(zip(cases, elements))
                      if f"xent {tier}" in case["ns"]]
            if points:
                handles.setdefault(f"xent {tier}", axes.plot(*zip(*points), "o", color=color, markerfacecolor=face,
                                                             markersize=8, markeredgecolor=color)[0])
        set_log_y(axes, "ns per logit" if axes is grid[0] else "")
        axes.set_xticks(range(len(cases)), [shape_label(column) for column, _ in cases])
        axes.tick_params(axis="x", labelsize=7.5)
        axes.set_xlim(-0.5, len(cases) - 0.5)
        axes.set_title(TITLES[section], loc="left", fontweight="bold")
    if handles:
        low = min(patch.get_data().values.min() for name, patch in handles.items() if hasattr(patch, "get_data")
                  and hasattr(patch.get_data(), "values"))
        top = grid[0].get_ylim()[1]
        grid[0].set_ylim(low / 1.8, top)
        grid[0].set_yticks(nice_ticks(low / 1.8, top))
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=5, frameon=False)
    figure.suptitle(f"Time per logit against the speed of light, one thread of {document['cpu']['name']}, "
                    "by shape (rows × classes)", fontsize=11)
    return figure


def plot_cost(document):
    own = f"xent {document['tier']}"
    parts = sections(document)
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 4.8), layout="constrained")

    def lines(axes, section, x_of, y_of):
        cases = list(parts.get(section, {}).values())
        for peer in (TENSORFLOW, TORCH, JAX):
            color, _, marker = LOOK[peer]
            points = [(x_of(case), y_of(case, peer_ns(case, peer))) for case in cases if peer_ns(case, peer)]
            if points:
                axes.plot(*zip(*points), marker=marker, markersize=4.5, linewidth=1.2, color=color, label=peer)
        axes.plot([x_of(case) for case in cases], [y_of(case, case["ns"][own]) for case in cases], marker="o",
                  markersize=5, linewidth=2.2, color=XENT, label=own)
        axes.plot([x_of(case) for case in cases], [y_of(case, light(case)) for case in cases], color="0.35",
                  linestyle="--", linewidth=1.3, label="speed of light")
        axes.set_xscale("log", base=2)
        axes.legend(frameon=False)

    per_element = lambda case, ns: ns / case["n"] / case["c"]
    power = FuncFormatter(lambda value, _: f"$2^{{{round(math.log2(value))}}}$" if value > 0 else "")
    lines(left, "classes", lambda case: case["c"], per_element)
    set_log_y(left, "ns per logit")
    left.set_xticks([2.0 ** k for k in range(1, 21)])
    left.xaxis.set_major_formatter(power)
    left.set_xlabel("classes; $2^{20}$ logits in all")
    left.set_title("as the number of classes grows", loc="left", fontweight="bold")
    lines(right, "rows", lambda case: case["n"], lambda case, ns: ns / 1000)
    set_log_y(right, "µs per call")
    ticks = [case["n"] for case in parts.get("rows", {}).values()]
    right.set_xticks(ticks, [f"{n}" for n in ticks])
    right.set_xlabel("rows of 1000 classes")
    right.set_title("as the number of rows grows", loc="left", fontweight="bold")
    for axes in (left, right):
        axes.grid(axis="x", which="major", color="0.9", linewidth=0.6)
    figure.suptitle(f"Cost of cross-entropy and its gradient, one thread of {document['cpu']['name']}", fontsize=11)
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("results", help="JSON of scripts/peers.sh")
    parser.add_argument("folder")
    parser.add_argument("--png", action="store_true", help="PNG too")
    arguments = parser.parse_args()
    with open(arguments.results) as file:
        document = json.load(file)
    matplotlib.use("svg")
    plt.rcParams.update({"font.size": 9, "axes.titlesize": 10, "svg.hashsalt": "xent", "hatch.linewidth": 0.6,
                         "axes.spines.top": False, "axes.spines.right": False, "savefig.facecolor": "white"})
    plots = {"ratio": plot_ratios, "light": plot_light}
    if {"classes", "rows"} <= sections(document).keys():    # not of a quick run
        plots["cost"] = plot_cost
    for name, plot in plots.items():
        figure = plot(document)
        path = os.path.join(arguments.folder, f"peers-{name}")
        figure.savefig(path + ".svg", metadata={"Date": None})
        if arguments.png:
            figure.savefig(path + ".png", dpi=80)
        plt.close(figure)


if __name__ == "__main__":
    main()
