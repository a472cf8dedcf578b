#!/usr/bin/env python3
"""Golden values of optimisers, schedules and losses from PyTorch, in float64.

Needs torch and expecttest (for PyTorch's own table of optimiser configurations). Lion is not in PyTorch: it is written down here
from algorithm 2 of its paper, in NumPy's float64.

    python3 generate.py     # writes optimizers.json, schedules.json and losses.json beside this file
"""

import json
import pathlib

import numpy
import torch
from torch.testing._internal.common_optimizers import optim_db

FOLDER = pathlib.Path(__file__).resolve().parent
STEPS = 20
KEPT = [1, 2, 5, 20]
torch.set_default_dtype(torch.float64)


def write(name, value):
    (FOLDER / name).write_text(json.dumps(value, indent=None, separators=(",", ":")) + "\n")


def number(value):
    if isinstance(value, torch.Tensor):
        value = value.item()
    return [number(x) for x in value] if isinstance(value, tuple) else value


def optimizers():
    rng = numpy.random.default_rng(0)
    start = [rng.standard_normal((3, 2)), rng.standard_normal(4)]
    gradients = [[rng.standard_normal(p.shape) for p in start] for _ in range(STEPS)]
    known = {"lr", "momentum", "dampening", "weight_decay", "nesterov", "maximize", "betas", "eps", "amsgrad", "alpha", "centered"}
    cases, left_out, seen = [], [], set()
    extra = {
        "SGD": [dict(lr=0.05, momentum=0.8, dampening=0.3, weight_decay=0.02)],
        "Adam": [dict(lr=0.02, betas=(0.3, 0.7), amsgrad=True, weight_decay=0.1)],
        "AdamW": [dict(lr=0.02, betas=(0.3, 0.7), eps=1e-3)],
        "RMSprop": [dict(lr=0.02, alpha=0.3, centered=True, momentum=0.4, weight_decay=0.1)],
    }
    for info in optim_db:
        name = info.optim_cls.__name__
        if name not in extra:
            continue
        options = [dict(x.kwargs) for x in info.optim_inputs_func(device="cpu")] + extra[name]
        for kwargs in options:
            kwargs = {k: v for k, v in kwargs.items() if k not in ("foreach", "fused", "capturable", "differentiable")}
            key = (name, json.dumps({k: number(v) for k, v in kwargs.items()}, sort_keys=True))
            if key in seen:
                continue
            seen.add(key)
            if set(kwargs) - known:
                left_out.append(f"{name}({kwargs})")
                continue
            params = [torch.tensor(p, requires_grad=True) for p in start]
            optimizer = info.optim_cls(params, foreach=False, **kwargs)
            kept = []
            for step in range(1, STEPS + 1):
                for p, g in zip(params, gradients[step - 1]):
                    p.grad = torch.tensor(g)
                optimizer.step()
                if step in KEPT:
                    kept.append([p.detach().flatten().tolist() for p in params])
            cases.append({"rule": name, "options": {k: number(v) for k, v in kwargs.items()}, "steps": kept})
    for options in [dict(), dict(lr=0.01, betas=(0.5, 0.8), weight_decay=0.1)]:
        lr, (b1, b2), decay = options.get("lr", 1e-4), options.get("betas", (0.9, 0.99)), options.get("weight_decay", 0)
        params, means, kept = [p.copy() for p in start], [numpy.zeros_like(p) for p in start], []
        for step in range(1, STEPS + 1):
            for i, g in enumerate(gradients[step - 1]):
                update = numpy.sign(b1 * means[i] + (1 - b1) * g)
                means[i] = b2 * means[i] + (1 - b2) * g
                params[i] = params[i] - lr * (update + decay * params[i])
            if step in KEPT:
                kept.append([p.flatten().tolist() for p in params])
        cases.append({"rule": "Lion", "options": {k: number(v) for k, v in options.items()}, "steps": kept})
    print(len(cases), "optimiser cases; left out:", left_out)
    write("optimizers.json", {
        "kept": KEPT, "start": [p.flatten().tolist() for p in start],
        "gradients": [[g.flatten().tolist() for g in step] for step in gradients], "cases": cases})


def schedules():
    from torch.optim import lr_scheduler as s

    def rates(make, count=30):
        p = torch.zeros(1, requires_grad=True)
        optimizer = torch.optim.SGD([p], lr=0.3)
        scheduler = make(optimizer)
        found = []
        for _ in range(count):
            found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        return found

    metrics = [1, 0.9, 0.9, 0.91, 0.9, 0.5, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.1, 0.2, 0.2, 0.2, 0.2]
    p = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([p], lr=0.3)
    plateau, found = s.ReduceLROnPlateau(optimizer, factor=0.2, patience=2, cooldown=1, min_lr=0.01), []
    for metric in metrics:
        plateau.step(metric)
        found.append(optimizer.param_groups[0]["lr"])
    write("schedules.json", {
        "step": rates(lambda o: s.StepLR(o, 7, 0.3)),
        "multiStep": rates(lambda o: s.MultiStepLR(o, [3, 11, 20], 0.5)),
        "exponential": rates(lambda o: s.ExponentialLR(o, 0.9)),
        "cosine": rates(lambda o: s.CosineAnnealingLR(o, 29, 0.01)),
        "warmUp": rates(lambda o: s.SequentialLR(
            o, [s.LinearLR(o, 0.1, 1, 8), s.ExponentialLR(o, 0.9)], [8])),
        "oneCycle": rates(lambda o: s.OneCycleLR(o, 0.5, 30, cycle_momentum=False)),
        "plateau": {"metrics": metrics, "rates": found},
    })


def losses():
    import torch.nn.functional as F

    torch.manual_seed(1)
    cases = []

    def case(name, function, inputs, constants=(), **options):
        """The loss and its gradients; for losses of single elements those of a weighted sum."""
        leaves = [x.clone().requires_grad_() for x in inputs]
        loss = function(*leaves, *constants)
        weight = torch.linspace(0.5, 1.5, loss.numel()).reshape(loss.shape)
        (loss * weight).sum().backward()
        cases.append({
            "loss": name, "options": options,
            "inputs": [{"shape": list(x.shape), "values": x.flatten().tolist()} for x in inputs],
            "constants": [{"shape": list(x.shape), "values": x.flatten().tolist()} for x in constants],
            "value": {"shape": list(loss.shape), "values": loss.detach().flatten().tolist()},
            "gradients": [x.grad.flatten().tolist() for x in leaves]})

    for reduction in ["mean", "sum", "none"]:
        x, y = torch.randn(4, 3) * 2, torch.randn(4, 3)
        case("l1", lambda a, b: F.l1_loss(a, b, reduction=reduction), [x, y], reduction=reduction)
        case("mse", lambda a, b: F.mse_loss(a, b, reduction=reduction), [x, y], reduction=reduction)
        for delta in [0.5, 2.0]:
            case("huber", lambda a, b: F.huber_loss(a, b, reduction=reduction, delta=delta), [x, y],
                 reduction=reduction, delta=delta)
            case("smoothL1", lambda a, b: F.smooth_l1_loss(a, b, reduction=reduction, beta=delta), [x, y],
                 reduction=reduction, delta=delta)
        for smoothing in [0.0, 0.2]:
            for weight in [[], [torch.tensor([0.5, 2.0, 1.5])]]:
                for ignored in [-100, 1]:
                    logits, classes = torch.randn(5, 3, 2), torch.randint(0, 3, (5, 2))
                    case("crossEntropy", lambda a, c, w=None: F.cross_entropy(
                        a, c.long(), w, reduction=reduction, ignore_index=ignored, label_smoothing=smoothing),
                        [logits], [classes.double()] + weight, reduction=reduction, smoothing=smoothing, ignored=ignored)
        logits, probabilities = torch.randn(5, 3), torch.rand(5, 3).softmax(1)
        case("crossEntropy", lambda a, c: F.cross_entropy(a, c, reduction=reduction, label_smoothing=0.1),
             [logits], [probabilities], reduction=reduction, smoothing=0.1, ignored=-100, probabilities=True)
        case("bce", lambda a, t: F.binary_cross_entropy_with_logits(a, t, reduction=reduction), [x * 3],
             [torch.rand(4, 3)], reduction=reduction)
        case("bce", lambda a, t, w: F.binary_cross_entropy_with_logits(a, t, reduction=reduction, pos_weight=w), [x],
             [torch.rand(4, 3), torch.tensor([0.5, 1, 3])], reduction=reduction)
        logs, target = torch.randn(4, 3).log_softmax(1), torch.rand(4, 3)
        target[0, 0] = 0
        case("kl", lambda a, t: F.kl_div(a, t, reduction=reduction), [logs], [target], reduction=reduction, log=False)
        case("kl", lambda a, t: F.kl_div(a, t, reduction=reduction, log_target=True), [logs],
             [torch.randn(4, 3)], reduction=reduction, log=True)
        case("cosine", lambda a, b, t: F.cosine_embedding_loss(a, b, t, margin=0.1, reduction=reduction),
             [torch.randn(5, 4), torch.randn(5, 4)], [torch.tensor([1.0, -1, 1, -1, -1])], reduction=reduction)

    def spectra(x, n, hop, win):
        s = torch.stft(x, n, hop, win, torch.hann_window(win), return_complex=True)
        return torch.sqrt(torch.clamp(s.real ** 2 + s.imag ** 2, min=1e-7)).transpose(1, 2)

    def stft(x, y):
        total = 0
        for n, hop, win in [(64, 10, 40), (32, 8, 32)]:
            a, b = spectra(x, n, hop, win), spectra(y, n, hop, win)
            total = total + torch.norm(b - a) / torch.norm(b) + F.l1_loss(a.log(), b.log())
        return total / 2

    case("stft", stft, [torch.randn(2, 150)], [torch.randn(2, 150)])
    print(len(cases), "loss cases")
    write("losses.json", {"cases": cases})


if __name__ == "__main__":
    optimizers()
    schedules()
    losses()
