"""Races `toeplitz run` against ONNX Runtime on the operations of micro.py, the networks of nets.py and their int8 forms.

    python race.py path/to/toeplitz [--threads 2] [--only NAME ...] [--kinds micro nets int8] [--rounds 3] [--numerics invariant fast]

Every run is a process of its own; the two take turns; a time is the least of its rounds, the ratio is ONNX Runtime's over ours
(above 1 we are faster). Outputs are compared first. Memory is the largest resident size beside what
an empty process of each takes (20 MB for ours). Needs torch, torchvision, onnxscript, onnx, onnxruntime, numpy. Models are kept in --cache.
"""

import argparse, json, math, os, re, subprocess, sys, warnings

here = os.path.dirname(os.path.abspath(__file__))
ap = argparse.ArgumentParser()
ap.add_argument("exe")
ap.add_argument("--threads", type=int, default=2)
ap.add_argument("--only", nargs="*", default=[])
ap.add_argument("--kinds", nargs="*", default=["micro", "nets", "int8"])
ap.add_argument("--rounds", type=int, default=3)
ap.add_argument("--numerics", nargs="*", default=["invariant"])
ap.add_argument("--cache", default=os.path.join(os.path.expanduser("~"), ".cache", "toeplitz-networks"))
ap.add_argument("--nets", default=here, help="the folder whose nets.py is taken")
ap.add_argument("--least", type=float)
ap.add_argument("--mean", type=float)
ap.add_argument("--brief", action="store_true")
a = ap.parse_args()
warnings.filterwarnings("ignore")
import numpy as np

WORKER = r"""
import sys, json, time, numpy as np, onnxruntime as ort
peak = lambda: next(int(l.split()[1]) for l in open('/proc/self/status') if l.startswith('VmHWM')) / 1024
ort.set_default_logger_severity(4)
model, data, out, threads, seconds = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), float(sys.argv[5])
x = dict(np.load(data)); base = peak()
so = ort.SessionOptions(); so.intra_op_num_threads = threads
t = time.perf_counter(); s = ort.InferenceSession(model, so, providers=["CPUExecutionProvider"]); r = s.run(None, x); first = time.perf_counter() - t
best, end = 1e9, time.perf_counter() + seconds
while True:
    t = time.perf_counter(); r = s.run(None, x); e = time.perf_counter(); best = min(best, e - t)
    if e > end: break
if out != "-": np.savez(out, **{o.name: v for o, v in zip(s.get_outputs(), r)})
print(json.dumps(dict(ms=best * 1e3, first=first * 1e3, mb=peak() - base)))
"""


def export(kind, name, folder):
    """Writes model.onnx and inputs.npz of a case; what the exporter says is dropped."""
    with open(os.devnull, "w") as null:
        kept = os.dup(1), os.dup(2)
        sys.stdout.flush()
        os.dup2(null.fileno(), 1)
        os.dup2(null.fileno(), 2)
        try:
            return written(kind, name, folder)
        finally:
            sys.stdout.flush()
            os.dup2(kept[0], 1)
            os.dup2(kept[1], 2)
            os.close(kept[0])
            os.close(kept[1])


def written(kind, name, folder):
    import onnx

    os.makedirs(folder, exist_ok=True)
    model, data = os.path.join(folder, "model.onnx"), os.path.join(folder, "inputs.npz")
    if os.path.exists(data):
        return model, data
    if kind == "micro":
        m, inputs = micro.M[name]
        onnx.save(m, model)
        np.savez(data, **inputs)
        return model, data
    import torch

    factory, x, dynamic = nets.N[name]
    torch.manual_seed(0)
    m = factory().eval()
    names = [f"in{i}" for i in range(len(x))]
    with torch.no_grad():
        try:
            torch.onnx.export(
                m,
                x,
                model,
                dynamo=False,
                input_names=names,
                dynamic_axes={k: d for k, d in zip(names, dynamic) if d},
                opset_version=17,
            )
        except Exception:
            torch.onnx.export(
                m,
                x,
                model,
                dynamo=True,
                input_names=names,
                external_data=False,
                verbose=False,
                dynamic_shapes=tuple({k: torch.export.Dim.DYNAMIC for k in d} for d in dynamic),
            )
    if kind == "int8":
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

        class Reader(CalibrationDataReader):
            def __init__(self):
                self.left = iter([{k: v.numpy() for k, v in zip(names, x)}] * 2)

            def get_next(self):
                return next(self.left, None)

        quantize_static(
            model,
            model,
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
    np.savez(data, **{k: v.numpy() for k, v in zip(names, x)})
    return model, data


def ours(model, data, numerics, out, repeat):
    cmd = [
        "/usr/bin/time",
        "-f",
        "PEAK %M",
        a.exe,
        "run",
        model,
        "--threads",
        str(a.threads),
        "--repeat",
        str(repeat),
        "--memory",
        "16000",
        "--time-limit",
        "600",
    ]
    for k in np.load(data).files:
        cmd += ["--input", f"{k}={data}:{k}"]
    if out:
        cmd += ["--output-dir", out]
    r = subprocess.run(
        cmd, capture_output=True, text=True, env=dict(os.environ, TOEPLITZ_NUMERICS=numerics), timeout=900
    )
    if r.returncode:
        return dict(error=re.sub(r"PEAK \d+|Command exited.*\n", "", r.stderr).strip()[:300])
    return dict(
        ms=max(float(t) for t in re.findall(r"\] in ([\d.]+) ms", r.stdout)),
        mb=int(re.search(r"PEAK (\d+)", r.stderr)[1]) / 1024,
    )


def first_run(model, data):
    """Milliseconds from the path to the first result."""
    cmd = [a.exe, "run", model, "--threads", str(a.threads), "--profile", "--memory", "16000", "--time-limit", "600"]
    for k in np.load(data).files:
        cmd += ["--input", f"{k}={data}:{k}"]
    r = subprocess.run(cmd, capture_output=True, text=True, timeout=900)
    return sum(float(t) for t in re.findall(r"(?:loaded|first run) in ([\d.]+)", r.stdout))


def race(kind, name):
    folder = os.path.join(a.cache, kind + "-" + name)
    try:
        model, data = export(kind, name, folder)
    except Exception as e:
        print(f"{kind}/{name}: not exported: {str(e)[:120]}")
        return None
    worker = lambda out, s: json.loads(
        subprocess.run(
            [sys.executable, "-c", WORKER, model, data, out, str(a.threads), str(s)], capture_output=True, text=True
        ).stdout.splitlines()[-1]
    )
    ref = os.path.join(folder, "ort.npz")
    try:
        w = worker(ref, 0.2)
    except Exception:
        print(f"{kind + '/' + name:34s} ONNX Runtime does not run it", flush=True)
        return dict(left_out=True)
    repeat = int(min(500, max(5, 400 / w["ms"])))
    result = {}
    for numerics in a.numerics:
        o = ours(model, data, numerics, os.path.join(folder, numerics), 1)
        if "error" in o:
            print(f"{kind + '/' + name:34s} {o['error']}", flush=True)
            return dict(error=o["error"])
        worst = 0.0
        for k, v in np.load(ref).items():
            u = np.load(os.path.join(folder, numerics, re.sub(r"[/:]", "_", k) + ".npy"))
            if v.dtype.kind == "f":
                worst = (
                    max(worst, float(np.abs(u - v).max() / (np.abs(v).max() + 1e-30)))
                    if v.size and u.shape == v.shape
                    else math.inf if u.shape != v.shape else worst
                )
        theirs, mine, mb, mine_mb, first, mine_first = [], [], [], [], [], []
        for _ in range(a.rounds):
            w = worker("-", 0.3)
            theirs.append(w["ms"])
            mb.append(w["mb"])
            first.append(w["first"])
            o = ours(model, data, numerics, None, repeat)
            mine.append(o["ms"])
            mine_mb.append(o["mb"])
            mine_first.append(first_run(model, data))
        result[numerics] = dict(
            ratio=min(theirs) / min(mine), error=worst, memory=max(0, min(mine_mb) - 20) / max(1, min(mb))
        )
        if not a.brief or min(theirs) < min(mine):
            print(
                f"{kind + '/' + name:34s} {numerics:9s} ORT {min(theirs):9.3f} ours {min(mine):9.3f} ms  ratio {min(theirs) / min(mine):5.2f}  error {worst:.1e}  memory {max(0, min(mine_mb) - 20):5.0f}/{min(mb):5.0f} MB  first {min(mine_first):5.0f}/{min(first):5.0f} ms",
                flush=True,
            )
    return result


sys.path.insert(0, a.nets)
cases = []
if "micro" in a.kinds:
    sys.path.append(here)
    import micro

    cases += [("micro", n) for n in micro.M]
if "nets" in a.kinds or "int8" in a.kinds:
    import nets
if "nets" in a.kinds:
    cases += [("nets", n) for n in nets.N]
if "int8" in a.kinds:
    cases += [("int8", n) for n in ("resnet18", "mobilenet_v3_small", "googlenet") if n in nets.N]
cases = [c for c in cases if not a.only or c[1] in a.only]
results = {c: race(*c) for c in cases}
results = {c: r for c, r in results.items() if not (r and "left_out" in r)}
ok = {c: r for c, r in results.items() if r and "error" not in r}
bad = sum(1 for r in results.values() if not r or "error" in r)
for numerics in a.numerics:
    q = {c: r[numerics]["ratio"] for c, r in ok.items()}
    if not q:
        continue
    gm = math.exp(sum(map(math.log, q.values())) / len(q))
    low = min(q, key=q.get)
    print(
        f"{numerics}: {len(q)} cases, {bad} did not run, geometric mean {gm:.2f}, below 1: {sum(v < 1 for v in q.values())}, least {q[low]:.2f} ({low[1]})"
    )
q = [r[n]["ratio"] for r in ok.values() for n in a.numerics]
sys.exit(
    bool(bad)
    or not q
    or (a.least is not None and min(q) < a.least)
    or (a.mean is not None and math.exp(sum(map(math.log, q)) / len(q)) < a.mean)
)
