#!/usr/bin/env python3
"""Exports PyTorch's own samples of its operations, with gradients in float64, for OpInfoTests.

    python3 -m pip install torch expecttest safetensors
    python3 Scripts/opinfo-gradients.py FOLDER
    TOEPLITZ_OPINFO=FOLDER swift test --filter OpInfoTests

Of each sample: inputs, results, the gradient of a sum of results times random weights, and, where PyTorch's entry supports it,
the gradient of that gradient times random directions. Optimisers: 20 steps of the configurations of optim_db; Lion is a transcription of
its paper's algorithm 2. --subset writes the few samples that the repository holds.
"""

import argparse
import inspect
import json
import pathlib
import warnings

import torch
from safetensors.torch import save_file

warnings.filterwarnings("ignore")
from torch.testing._internal.common_methods_invocations import op_db  # noqa: E402
from torch.testing._internal.common_modules import module_db  # noqa: E402
from torch.testing._internal.common_optimizers import optim_db  # noqa: E402

CONV = ["input", "weight", "bias", "stride", "padding", "dilation", "groups"]
CONV_TRANSPOSE = ["input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation"]
AVG_POOL = ["input", "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"]
MAX_POOL = ["input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices"]
# The names of parameters of functions that have no signature in Python.
BUILTIN = {
    "stft": ["input", "n_fft", "hop_length", "win_length", "window", "center", "pad_mode", "normalized", "onesided",
             "return_complex", "align_to_window"],
    "istft": ["input", "n_fft", "hop_length", "win_length", "window", "center", "normalized", "onesided", "length",
              "return_complex"],
    "nn.functional.linear": ["input", "weight", "bias"], "nn.functional.gelu": ["input", "approximate"],
    "nn.functional.logsigmoid": ["input"], "nn.functional.softplus": ["input", "beta", "threshold"],
    "nn.functional.softshrink": ["input", "lambd"], "nn.functional.hardshrink": ["input", "lambd"],
    "nn.functional.prelu": ["input", "weight"], "nn.functional.celu": ["input", "alpha", "inplace"],
    "nn.functional.pixel_shuffle": ["input", "factor"], "nn.functional.pixel_unshuffle": ["input", "factor"],
    "nn.functional.channel_shuffle": ["input", "groups"], "softmax": ["input", "dim", "dtype"],
    "log_softmax": ["input", "dim", "dtype"], "tanh": ["input"], "sigmoid": ["input"],
    "nn.functional.conv_transpose1d": CONV_TRANSPOSE,
}
for rank in (1, 2, 3):
    BUILTIN[f"nn.functional.conv{rank}d"] = CONV
    BUILTIN[f"nn.functional.conv_transpose{rank}d"] = CONV_TRANSPOSE
    BUILTIN[f"nn.functional.avg_pool{rank}d"] = AVG_POOL
    BUILTIN[f"nn.functional.max_pool{rank}d"] = MAX_POOL
    BUILTIN[f"nn.functional.adaptive_avg_pool{rank}d"] = ["input", "output_size"]
    BUILTIN[f"nn.functional.adaptive_max_pool{rank}d"] = ["input", "output_size", "return_indices"]

NAMES = [f"nn.functional.{name}" for name in (
    "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d pad interpolate upsample_nearest upsample_bilinear "
    "avg_pool1d avg_pool2d avg_pool3d max_pool1d max_pool2d max_pool3d adaptive_avg_pool1d adaptive_avg_pool2d "
    "adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d fractional_max_pool2d "
    "fractional_max_pool3d max_unpool1d max_unpool2d max_unpool3d "
    "batch_norm group_norm instance_norm layer_norm rms_norm local_response_norm normalize "
    "relu relu6 leaky_relu elu celu selu silu gelu mish hardswish hardsigmoid hardtanh logsigmoid softsign tanhshrink "
    "threshold softshrink hardshrink softplus softmin glu prelu rrelu linear pixel_shuffle pixel_unshuffle channel_shuffle "
    "l1_loss mse_loss huber_loss smooth_l1_loss cross_entropy nll_loss binary_cross_entropy binary_cross_entropy_with_logits "
    "kl_div cosine_embedding_loss ctc_loss soft_margin_loss margin_ranking_loss multi_margin_loss multilabel_margin_loss "
    "multilabel_soft_margin_loss triplet_margin_loss hinge_embedding_loss poisson_nll_loss gaussian_nll_loss").split()]
NAMES += ["softmax", "log_softmax", "tanh", "sigmoid", "stft", "istft"]


class Fixtures:
    def __init__(self):
        self.tensors, self.cases = {}, []
        self.random = torch.Generator().manual_seed(1)

    def keep(self, tensor):
        key = f"t{len(self.tensors)}"
        value = torch.view_as_real(tensor.detach().resolve_conj()) if tensor.is_complex() else tensor.detach()
        if value.dtype not in (torch.float64, torch.int64, torch.float32):
            value = value.to(torch.int64)
        self.tensors[key] = value.clone().contiguous()
        return key

    def noise(self, tensor):
        """Random numbers like a tensor."""
        noise = torch.randn(torch.view_as_real(tensor).shape if tensor.is_complex() else tensor.shape,
                            generator=self.random, dtype=torch.float64)
        return torch.view_as_complex(noise.contiguous()) if tensor.is_complex() else noise

    def write(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        save_file(self.tensors, str(folder / "opinfo.safetensors"))
        (folder / "opinfo.json").write_text(json.dumps({"cases": self.cases}, separators=(",", ":")) + "\n")


def product(a, b):
    """The real inner product, also of complex numbers."""
    return (torch.view_as_real(a) * torch.view_as_real(b)).sum() if a.is_complex() else (a * b).sum()


def option(value):
    if isinstance(value, (torch.dtype, torch.memory_format)):
        return str(value)
    if isinstance(value, (list, tuple, torch.Size)):
        return [option(item) for item in value]
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else str(value)
    raise TypeError(type(value).__name__)


def export(fixtures, name, variant, function, arguments, second):
    """One case, or the reason why it is none."""
    leaves, case = {}, {"op": name, "variant": variant, "tensors": {}, "options": {}}
    for key, value in arguments.items():
        if isinstance(value, torch.Tensor):
            case["tensors"][key] = fixtures.keep(value)
            if value.is_floating_point() or value.is_complex():
                if value.requires_grad:
                    arguments[key] = value.detach().clone().requires_grad_()
                    leaves[key] = arguments[key]
        else:
            case["options"][key] = option(value)
    outputs = function(arguments)
    outputs = list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]
    outputs = [output for output in outputs if output.is_floating_point() or output.is_complex()]
    weights = [fixtures.noise(output) for output in outputs]
    case["outputs"] = [fixtures.keep(output) for output in outputs]
    case["weights"] = [fixtures.keep(weight) for weight in weights]
    if leaves and any(output.requires_grad for output in outputs):
        total = sum(product(output, weight) for output, weight in zip(outputs, weights))
        first = torch.autograd.grad(total, list(leaves.values()), create_graph=second, allow_unused=True)
        case["gradients"] = {key: fixtures.keep(grad) for key, grad in zip(leaves, first) if grad is not None}
        if second and any(grad is not None and grad.requires_grad for grad in first):
            directions = {key: fixtures.noise(grad) for key, grad in zip(leaves, first) if grad is not None}
            slope = sum(product(grad, directions[key]) for key, grad in zip(leaves, first) if grad is not None)
            twice = torch.autograd.grad(slope, list(leaves.values()), allow_unused=True)
            case["directions"] = {key: fixtures.keep(value) for key, value in directions.items()}
            case["second"] = {key: fixtures.keep(grad) for key, grad in zip(leaves, twice) if grad is not None}
    fixtures.cases.append(case)


def operations(fixtures, left_out):
    for info in op_db:
        if info.name not in NAMES or torch.float64 not in info.dtypes:
            continue
        dtype = torch.complex128 if info.name == "istft" else torch.float64
        names = BUILTIN.get(info.name)
        if names is None:
            names = list(inspect.signature(info.op).parameters)
        for sample in info.sample_inputs("cpu", dtype, requires_grad=True):
            values = [sample.input, *sample.args]
            arguments = dict(zip(names, values))
            arguments.update(sample.kwargs)
            kwargs_only = [key for key in arguments if key not in names[:len(values)]]

            def call(arguments):
                return info.op(*[arguments[name] for name in names[:len(values)]],
                               **{key: arguments[key] for key in kwargs_only})

            # PyTorch claims second derivatives of this one and has none.
            second = info.supports_gradgrad and info.name != "nn.functional.ctc_loss"
            try:
                torch.manual_seed(0)
                export(fixtures, info.name, info.variant_test_name, call, arguments, second)
            except (RuntimeError, TypeError, ValueError) as error:
                left_out.append(f"{info.name} {info.variant_test_name}: {str(error).splitlines()[0][:90]}")


def modules(fixtures, left_out):
    """Recurrent layers, whose parameters are inputs too."""
    for info in module_db:
        if info.module_cls not in (torch.nn.LSTM, torch.nn.GRU):
            continue
        for sample in info.module_inputs_func(info, "cpu", torch.float64, True, training=True):
            torch.manual_seed(0)
            arguments = dict(sample.constructor_input.kwargs)
            module = info.module_cls(*sample.constructor_input.args, **arguments, dtype=torch.float64)
            names = list(inspect.signature(torch.nn.modules.rnn.RNNBase.__init__).parameters)[2:]
            options = dict(zip(names, sample.constructor_input.args)) | arguments
            values, tensors = list(sample.forward_input.args), dict(module.named_parameters())
            if not isinstance(values[0], torch.Tensor):
                left_out.append(f"{info.name}: packed sequences")
                continue
            tensors["input"] = values[0].detach().requires_grad_()
            state = values[1] if len(values) > 1 else sample.forward_input.kwargs.get("hx")
            if state is not None:
                for index, part in enumerate(state if isinstance(state, tuple) else [state]):
                    tensors[f"state{index}"] = part.detach().requires_grad_()
            is_tuple = isinstance(state, tuple)
            parameters = [name for name, _ in module.named_parameters()]

            def call(arguments):
                hx = None
                if state is not None:
                    hx = (arguments["state0"], arguments["state1"]) if is_tuple else arguments["state0"]
                found = torch.func.functional_call(
                    module, {name: arguments[name] for name in parameters}, (arguments["input"], hx))
                rest = found[1] if isinstance(found[1], tuple) else (found[1],)
                return [found[0], *rest]

            try:
                export(fixtures, info.name, "", call, options | tensors, True)
            except RuntimeError as error:
                left_out.append(f"{info.name}: {str(error).splitlines()[0][:90]}")


def lion(parameter, state, gradient, lr, betas, weight_decay):
    """Chen et al., Symbolic Discovery of Optimization Algorithms, algorithm 2."""
    mean = state.get("m", torch.zeros_like(parameter))
    update = torch.sign(betas[0] * mean + (1 - betas[0]) * gradient)
    state["m"] = betas[1] * mean + (1 - betas[1]) * gradient
    return parameter - lr * (update + weight_decay * parameter)


def trajectories(fixtures, left_out):
    start = [torch.randn(4, 3, generator=fixtures.random, dtype=torch.float64) for _ in range(2)]
    gradients = [[torch.randn(4, 3, generator=fixtures.random, dtype=torch.float64) for _ in range(2)] for _ in range(20)]
    shared = {"start": [fixtures.keep(value) for value in start],
              "steps": [[fixtures.keep(value) for value in step] for step in gradients]}

    def keep(name, options, run):
        fixtures.cases.append({"op": "optimizer", "rule": name, "options": options, **shared,
                               "results": [[fixtures.keep(value) for value in step] for step in run]})

    wanted = {"SGD", "Adam", "AdamW", "RMSprop", "Muon"}
    for info in optim_db:
        name = info.optim_cls.__name__
        if name not in wanted:
            continue
        for configuration in info.optim_inputs_func("cpu", torch.float64):
            # A learning rate that is a float32 tensor makes PyTorch compute with float32 in places.
            kwargs = {key: value.double() if isinstance(value, torch.Tensor) else value
                      for key, value in configuration.kwargs.items()}
            try:
                options = {key: option(value.item() if isinstance(value, torch.Tensor) else value)
                           for key, value in kwargs.items()}
            except TypeError as error:
                left_out.append(f"{name} {configuration.desc}: {error}")
                continue
            parameters = [torch.nn.Parameter(value.clone()) for value in start]
            try:
                optimizer = info.optim_cls(parameters, **kwargs)
                run = []
                for step in gradients:
                    for parameter, gradient in zip(parameters, step):
                        parameter.grad = gradient.clone()
                    optimizer.step()
                    run.append([parameter.detach().clone() for parameter in parameters])
            except (RuntimeError, ValueError) as error:
                left_out.append(f"{name} {configuration.desc}: {str(error).splitlines()[0][:90]}")
                continue
            keep(name, options, run)
    for kwargs in ({"lr": 1e-2, "betas": (0.9, 0.99), "weight_decay": 0.0},
                   {"lr": 1e-3, "betas": (0.95, 0.98), "weight_decay": 0.1}):
        parameters, states, run = [value.clone() for value in start], [{}, {}], []
        for step in gradients:
            parameters = [lion(value, state, gradient, **kwargs)
                          for value, state, gradient in zip(parameters, states, step)]
            run.append(parameters)
        keep("Lion", option_dictionary(kwargs), run)


def option_dictionary(kwargs):
    return {key: option(value) for key, value in kwargs.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--subset", type=int, help="keep so many small cases of each operation and variant")
    options = parser.parse_args()
    torch.manual_seed(0)
    fixtures, left_out = Fixtures(), []
    operations(fixtures, left_out)
    modules(fixtures, left_out)
    trajectories(fixtures, left_out)
    if options.subset:
        fixtures = subset(fixtures, options.subset)
    fixtures.write(options.out)
    print(f"{options.out}: {len(fixtures.cases)} cases, {len(fixtures.tensors)} tensors")
    for line in left_out:
        print("left out:", line)


def keys(case):
    """The tensors that a case refers to."""
    found = []

    def walk(value):
        for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]:
            walk(item) if isinstance(item, (dict, list)) else found.append(item)

    walk({key: value for key, value in case.items() if key not in ("op", "variant", "rule", "options")})
    return found


def subset(fixtures, count):
    """The smallest cases of each operation and variant."""
    groups = {}
    for case in fixtures.cases:
        groups.setdefault((case["op"], case.get("variant"), case.get("rule")), []).append(case)
    kept = Fixtures()

    def size(case):
        return sum(fixtures.tensors[key].numel() for key in keys(case))

    for group in groups.values():
        kept.cases += [case for case in sorted(group, key=size) if case.get("gradients") or case.get("rule")][:count]
    wanted = {key for case in kept.cases for key in keys(case)}
    kept.tensors = {key: value for key, value in fixtures.tensors.items() if key in wanted}
    return kept


if __name__ == "__main__":
    main()
