"""What a run prints: a line a case while it runs, and the table of targets at its end."""
from cases import SHAPES, shape_name
from targets import best_peer, light, peer_ns

PEERS = ["PyTorch", "torch.compile", "JAX", "TensorFlow", "ONNX Runtime", "oneDNN"]


def progress(case):
    """One line: xent's time per element, and how far it is ahead of each peer."""
    elements = case["n"] * case["c"]
    own = {key: ns for key, ns in case["ns"].items() if key.startswith("xent")}
    text = f"{case['section']:<24} {shape_name(case['n'], case['c']):<11}"
    if not own:
        return text
    key, ns = next(iter(own.items()))
    if case["section"] == "small call":
        return text + ", ".join(f"{key} {ns:.1f} ns" for key, ns in own.items())
    text += f" {key} {ns / elements:.3f} ns"
    if "memcpy" in case["ns"]:
        text += f" ({ns / light(case):.2f} x light)"
    for peer in PEERS:
        if peer_ns(case, peer):
            text += f", {peer} {peer_ns(case, peer) / ns:.2f}x"
    return text


def number(value):
    return f"{value:.2f}" if value < 99.5 else f"{value:.0f}"


def verdict(row):
    if row["holds"] is None:
        return "not judged"
    return "holds" if row["holds"] else "short"


def bound_text(row):
    bounds = list(dict.fromkeys(b for b in row["bounds"].values() if b is not None))
    text = row["relation"] + " " + "/".join(f"{b:.3g}" for b in bounds) if bounds else ""
    return text + (f", mean {row['mean_bound']:g}" if row["mean_bound"] else "")


def cells_of(row, values, columns):
    """A * marks what misses its bound."""
    def cell(column):
        if column not in values:
            return ""
        return number(values[column]) + ("*" if values is row["ratios"] and column in row["short"] else "")
    return [cell(column) for column in columns]


def print_table(head, lines):
    widths = [max(len(line[i]) for line in [head, *lines]) for i in range(len(head))]
    for line in [head, *lines]:
        print("  ".join(text.ljust(width) if i == 0 else text.rjust(width)
                        for i, (text, width) in enumerate(zip(line, widths))).rstrip())


def show(document):
    shapes = [shape_name(*shape) for shape in SHAPES]
    tier = document["tier"]
    print(f"\nTargets on {document['cpu']['name']}, tier {tier}, the AVX2 tier beside it "
          f"({document['date']}, {document['commit']})")
    print("Ratios within one interleaved run, 1 thread; peers at the faster of as installed and pages retained.")
    print(">=: times faster than the peer. <=: xent's time over what it is compared with. * misses its bound.\n")
    lines, others = [], []
    for row in document["targets"]:
        if set(row["ratios"]) <= set(shapes) and row["ratios"]:
            mean = number(row["mean"]) + ("*" if "geometric mean" in row["short"] else "") if row["mean"] else ""
            lines.append([row["title"], bound_text(row), *cells_of(row, row["ratios"], shapes), mean, verdict(row)])
            if row["avx2"]:
                lines.append(["    avx2", "", *cells_of(row, row["avx2"], shapes), "", ""])
        else:
            texts = [f"{column}: {value}" for column, value in zip(row["ratios"], cells_of(row, row["ratios"], row["ratios"]))]
            beside = [f"{column}: {number(value)}" for column, value in row["avx2"].items()]
            others.append([row["title"], bound_text(row), ", ".join(texts), ", ".join(beside), verdict(row)])
    present = [i for i, _ in enumerate(["", "", *shapes, "", ""]) if i < 2 or any(line[i] for line in lines)]
    head = ["target", "bound", *shapes, "mean", ""]
    print_table([head[i] for i in present], [[line[i] for i in present] for line in lines])
    print()
    if others:
        print_table(["target", "bound", "ratio", "avx2", ""], others)
    print()
    for row in document["targets"]:
        if row["note"]:
            print(f"{row['title']}: {row['note']}")
    show_best(document)
    judged = [row for row in document["targets"] if row["holds"] is not None]
    held = sum(row["holds"] for row in judged)
    print(f"\n{held} of {len(judged)} targets hold, {len(document['targets']) - len(judged)} not judged here"
          + "".join(f"\nmissing: {peer} ({why})" for peer, why in document["missing"].items()))


def show_best(document):
    """Nanoseconds per logit of everybody, and which peer was the best."""
    for section in dict.fromkeys(case["section"] for case in document["cases"]):
        cases = [case for case in document["cases"] if case["section"] == section]
        if section in ("small call", "classes", "rows"):
            continue
        names = list(dict.fromkeys(key for case in cases for key in case["ns"] if key not in ("memcpy", "exp")))
        print(f"\n{section}: ns per element")
        head = ["", *[shape_name(case["n"], case["c"]) for case in cases]]

        def times(get):
            return [f"{get(case) / case['n'] / case['c']:.3f}" if get(case) else "" for case in cases]
        lines = [["speed of light", *times(light)]] + [[name, *times(lambda case: case["ns"].get(name))] for name in names]
        best = [best_peer(case, PEERS) for case in cases]
        if any(best):
            lines.append(["the best peer", *[pair[1] if pair else "" for pair in best]])
        print_table(head, lines)
