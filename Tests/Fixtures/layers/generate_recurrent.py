"""Makes recurrent.json and recurrent.safetensors of this folder from PyTorch.

    python generate_recurrent.py [output folder]

One forward pass per case of `torch.nn.RNN`, `GRU` and `LSTM`. Inputs and parameters are rounded to float32 before
anything is computed from them in float64.
"""

import json
import sys
from pathlib import Path

import safetensors.torch
import torch

OPTIONS = [
    {},
    {"bias": False},
    {"num_layers": 3, "bidirectional": True},
    {"batch_first": True, "bidirectional": True},
    {"num_layers": 2, "batch_first": True, "state": True},
    {"state": True, "bidirectional": True},
    {"unbatched": True},
    {"unbatched": True, "state": True, "num_layers": 2, "bidirectional": True},
]
MORE = {
    "RNN": [{"nonlinearity": "relu"}, {"nonlinearity": "relu", "num_layers": 2, "bidirectional": True}],
    "GRU": [],
    "LSTM": [
        {"proj_size": 2},
        {"proj_size": 3, "num_layers": 2, "bidirectional": True, "state": True, "batch_first": True},
    ],
}
INPUT, HIDDEN, TIME, BATCH = 5, 4, 7, 3


def rounded(tensor):
    return tensor.to(torch.float32).to(torch.float64)


def main():
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    torch.manual_seed(20)
    cases, tensors = [], {}
    for kind in ["RNN", "GRU", "LSTM"]:
        for number, options in enumerate(OPTIONS + MORE[kind]):
            options = dict(options)
            name = f"{kind}.{number}"
            unbatched, has_state = options.pop("unbatched", False), options.pop("state", False)
            layer = getattr(torch.nn, kind)(INPUT, HIDDEN, **options).double()
            with torch.no_grad():
                for parameter in layer.parameters():
                    parameter.copy_(rounded(parameter * 2))
            shape = [TIME, INPUT] if unbatched else [TIME, BATCH, INPUT]
            if options.get("batch_first") and not unbatched:
                shape = [BATCH, TIME, INPUT]
            x = rounded(torch.randn(shape, dtype=torch.float64))
            directions = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
            states = []
            for width in [options.get("proj_size", 0) or HIDDEN, HIDDEN][: 2 if kind == "LSTM" else 1]:
                size = [directions, width] if unbatched else [directions, BATCH, width]
                states.append(rounded(torch.randn(size, dtype=torch.float64)))
            state = (tuple(states) if kind == "LSTM" else states[0]) if has_state else None
            with torch.no_grad():
                y, last = layer(x, state)
            last = list(last) if kind == "LSTM" else [last]
            tensors[f"{name}.input"], tensors[f"{name}.output"] = x, y
            for index, tensor in enumerate(states if has_state else []):
                tensors[f"{name}.state.{index}"] = tensor
            for index, tensor in enumerate(last):
                tensors[f"{name}.last.{index}"] = tensor
            for key, parameter in layer.named_parameters():
                tensors[f"{name}.parameter.{key}"] = parameter.detach()
            cases.append({
                "id": name, "layer": kind, "options": options, "state": has_state, "unbatched": unbatched,
                "parameters": [key for key, _ in layer.named_parameters()],
            })
    source = f"PyTorch {torch.__version__.split('+')[0]}, float64 rounded to float32"
    document = {"source": source, "inputSize": INPUT, "hiddenSize": HIDDEN, "cases": cases}
    (folder / "recurrent.json").write_text(json.dumps(document, indent=1) + "\n")
    stored = {key: tensor.to(torch.float32).contiguous() for key, tensor in tensors.items()}
    safetensors.torch.save_file(stored, folder / "recurrent.safetensors")


main()
