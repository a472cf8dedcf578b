"""Makes the golden data of this folder from PyTorch.

    python generate.py [output folder]

Writes layers.json and layers.safetensors (one forward pass per case of a `torch.nn` layer),
tensor_ops.json and tensor_ops.safetensors (tensor operations) and extra_repr.json (printed modules).
README.md describes the files. Two runs with the versions of requirements.txt give identical bytes.

Inputs and parameters are rounded to float32 before anything is computed from them in float64, so the
expected output is the exact answer to the stored question up to one float32 rounding. Every
floating-point case is also computed in float32 and must agree within `FLOAT32_TOLERANCE`: no case asks
for more than float32 can give.
"""

import inspect
import json
import math
import re
import sys
import warnings
import zlib
from pathlib import Path

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import nn

SOURCE = f"PyTorch {torch.__version__.split('+')[0]}, float64 rounded to float32"
FLOAT32_TOLERANCE = {"rtol": 2e-5, "atol": 2e-5}

INF = math.inf
NAN = math.nan


# MARK: Numbers


def rounded(tensor):
    """The values of a float tensor rounded to float32, still float64."""
    return tensor.to(torch.float32).to(torch.float64)


def random(*shape, scale=1.0, offset=0.0):
    """Normal numbers, exact in float32."""
    return rounded(torch.randn(shape, dtype=torch.float64) * scale + offset)


def values(*numbers):
    """The given numbers, rounded to float32, as a vector."""
    return rounded(torch.tensor(numbers, dtype=torch.float64))


def integers(*shape, low=-9, high=10, dtype=torch.int64):
    """Whole numbers from `low` up to but without `high`."""
    return torch.randint(low, high, shape, dtype=torch.int64).to(dtype)


def typed(dtype, *numbers):
    """The given numbers as a vector of an integer type or bool."""
    return torch.tensor(numbers, dtype=dtype)


def stored(tensor):
    """The tensor as it is written: float32 or int64; half precision as its bits."""
    tensor = tensor.detach()
    if tensor.dtype in (torch.float16, torch.bfloat16):
        tensor = tensor.view(torch.int16).to(torch.int64) & 0xFFFF
    elif tensor.is_floating_point():
        tensor = tensor.to(torch.float32)
    else:
        tensor = tensor.to(torch.int64)
    return tensor.contiguous().clone()


def dtype_name(tensor):
    """The element type a test works in: float64 here stands for float32."""
    name = str(tensor.dtype).removeprefix("torch.")
    return "float32" if name == "float64" else name


def check(identifier, expected, float32):
    """Stops if `float32`, the same computed in float32, is far from `expected`."""
    expected = stored(expected)
    torch.testing.assert_close(
        stored(float32), expected, equal_nan=True, msg=lambda text: f"{identifier}: {text}", **FLOAT32_TOLERANCE
    )


class Suite:
    """Cases and their tensors, and the two files they are written to."""

    def __init__(self, name):
        self.name = name
        self.cases = []
        self.tensors = {}
        self.counts = {}

    def start(self, kind):
        """A new identifier, for example `Conv1d-03`; seeds the random numbers with it."""
        number = self.counts.get(kind, 0)
        self.counts[kind] = number + 1
        identifier = f"{kind}-{number:02}"
        torch.manual_seed(zlib.crc32(identifier.encode()))
        return identifier

    def store(self, name, tensor):
        """Adds a tensor; only cases named "nan" may hold NaN."""
        assert name not in self.tensors, name
        self.tensors[name] = stored(tensor)

    def close(self, case, allow_nan):
        """Adds a finished case."""
        prefix = case["id"] + "."
        for name, tensor in self.tensors.items():
            if name.startswith(prefix) and tensor.is_floating_point() and not allow_nan:
                assert not tensor.isnan().any(), f"{name} holds NaN"
        self.cases.append(case)

    def write(self, folder):
        """Writes `<name>.json`, one case per line, and `<name>.safetensors`."""
        lines = ",\n".join("  " + json.dumps(case, allow_nan=False) for case in self.cases)
        (folder / f"{self.name}.json").write_text(
            f'{{\n "source": {json.dumps(SOURCE)},\n "cases": [\n{lines}\n ]\n}}\n'
        )
        (folder / f"{self.name}.safetensors").write_bytes(safetensors.torch.save(self.tensors))


# MARK: Layers


class Snake(nn.Module):
    """x + sin²(αx) / (α + 1e-9), one α per channel.

    Without `log_scale` as in the Descript audio codec, whose α has the shape [1, C, 1]; with it as in
    BigVGAN, whose α has the shape [C] and is the logarithm of the factor.
    """

    def __init__(self, channels, log_scale=False):
        super().__init__()
        self.log_scale = log_scale
        self.alpha = nn.Parameter(torch.ones(channels) if log_scale else torch.ones(1, channels, 1))

    def forward(self, x):
        alpha = self.alpha.reshape([1, -1] + [1] * (x.dim() - 2))
        if self.log_scale:
            alpha = alpha.exp()
        return x + (alpha + 1e-9).reciprocal() * torch.sin(alpha * x).pow(2)


# Constructor arguments that do not change the forward pass.
IGNORED_ARGUMENTS = {
    "self",
    "device",
    "dtype",
    "inplace",
    "return_indices",
    "args",
    "kwargs",
    "min_value",
    "max_value",
    "max_norm",
    "norm_type",
    "scale_grad_by_freq",
    "sparse",
    "_weight",
    "_freeze",
    "init",
}

SPATIAL_OPTIONS = ("kernelSize", "stride", "padding", "dilation", "outputPadding", "outputSize")


def camel(name):
    """`kernel_size` → `kernelSize`."""
    return re.sub(r"_(\w)", lambda match: match[1].upper(), name)


def snake(name):
    """`kernelSize` → `kernel_size`."""
    return re.sub(r"[A-Z]", lambda match: "_" + match[0].lower(), name)


def layer_class(layer):
    """The PyTorch class of that name."""
    return Snake if layer == "Snake" else getattr(nn, layer)


def complete(layer, options, rank):
    """All options of the layer: PyTorch's defaults filled in, one entry per axis where axes can differ."""
    result = {}
    for parameter in inspect.signature(layer_class(layer).__init__).parameters.values():
        if parameter.name not in IGNORED_ARGUMENTS:
            key = camel(parameter.name)
            result[key] = options[key] if key in options else parameter.default
    assert set(options) <= set(result), (layer, options)
    assert inspect.Parameter.empty not in result.values(), (layer, result)

    def per_axis(key, count):
        if key in result and not isinstance(result[key], str):
            value = result[key]
            result[key] = list(value) if isinstance(value, (tuple, list)) else [value] * count
            assert len(result[key]) == count, (layer, key)

    if layer[-2:] in ("1d", "2d", "3d") and "Norm" not in layer:
        axes = int(layer[-2])
        if "Pool" in layer and result.get("stride", 0) is None:
            result["stride"] = result["kernelSize"]
        if layer.endswith(f"Pad{axes}d"):
            per_axis("padding", 2 * axes)
        else:
            for key in SPATIAL_OPTIONS:
                per_axis(key, axes)
    elif layer == "Upsample":
        for key in ("size", "scaleFactor"):
            if result[key] is not None:
                per_axis(key, rank - 2)
    return {key: list(value) if isinstance(value, tuple) else value for key, value in result.items()}


def arguments(options):
    """The options as PyTorch's constructors take them."""
    return {snake(key): tuple(v) if isinstance(v, list) else v for key, v in options.items()}


def construct(layer, options, weight_norm=None):
    """The module with these options."""
    module = layer_class(layer)(**arguments(options))
    if weight_norm is not None:
        api = nn.utils if weight_norm["api"] == "utils" else nn.utils.parametrizations
        module = api.weight_norm(module, name="weight", dim=weight_norm["dim"])
    return module


def random_state(module, layer, integer):
    """Random values for everything in the module's state dict."""
    state = {}
    for name, value in module.state_dict().items():
        if name == "num_batches_tracked":
            state[name] = integers(low=1, high=6)
        elif name == "running_var":
            state[name] = rounded(torch.rand(value.shape, dtype=torch.float64) + 0.5)
        elif integer:
            state[name] = integers(*value.shape)
        elif layer == "Snake" or value.dim() < 2:
            state[name] = random(*value.shape)
        else:
            state[name] = random(*value.shape, scale=1 / math.sqrt(max(1, value[0].numel())))
    return state


layers = Suite("layers")


def case(
    layer, *shape, name="random", input=None, training=False, weight_norm=None, output_size=None, state=None, **options
):
    """Adds one forward pass of a layer.

    The input is random with the given shape unless `input` gives it: a tensor, or a function that makes
    one after the random numbers were seeded. `state` replaces entries of the random state dict.
    """
    identifier = layers.start(layer)
    x = input() if callable(input) else random(*shape) if input is None else input
    integer = not x.is_floating_point() and layer != "Embedding"
    options = complete(layer, options, x.dim())
    parameters = random_state(construct(layer, options, weight_norm), layer, integer)
    parameters.update(state or {})

    def forward(dtype):
        module = construct(layer, options, weight_norm).to(dtype).train(training)
        inputs = (x.to(dtype) if x.is_floating_point() else x,)
        if output_size is not None:
            inputs += (list(output_size),)
        with torch.no_grad():
            if integer:
                return torch.func.functional_call(module, parameters, inputs), module
            module.load_state_dict(parameters)
            return module(*inputs), module

    output, module = forward(torch.float64)
    if not integer:
        check(identifier, output, forward(torch.float32)[0])

    layers.store(f"{identifier}.input", x)
    layers.store(f"{identifier}.output", output)
    for key, value in parameters.items():
        layers.store(f"{identifier}.param.{key}", value)
    if weight_norm is not None:
        layers.store(f"{identifier}.weight", module.weight)
    if training:
        for key, value in module.named_buffers():
            layers.store(f"{identifier}.after.{key}", value)
    if "MaxPool" in layer:
        layers.store(f"{identifier}.indices", layer_indices(layer, options, x))

    entry = {
        "id": identifier,
        "name": name,
        "layer": layer,
        "options": options,
        "mode": "train" if training else "eval",
        "inputDType": dtype_name(x),
        "inputShape": list(x.shape),
        "outputShape": list(output.shape),
    }
    if weight_norm is not None:
        entry["weightNorm"] = weight_norm
    if output_size is not None:
        entry["outputSize"] = list(output_size)
    layers.close(entry, allow_nan=name == "nan")


def layer_indices(layer, options, x):
    """What a max pooling layer returns as its second result under `return_indices`."""
    return layer_class(layer)(**arguments(options), return_indices=True)(x)[1]


def linear_cases():
    case("Linear", 5, inFeatures=5, outFeatures=3)
    case("Linear", 5, inFeatures=5, outFeatures=3, bias=False)
    case("Linear", 4, 7, inFeatures=7, outFeatures=9)
    case("Linear", 1, 1, inFeatures=1, outFeatures=1)
    case("Linear", 3, 13, inFeatures=13, outFeatures=1, bias=False)
    case("Linear", 2, 3, 33, inFeatures=33, outFeatures=17)
    case("Linear", 2, 5, 8, inFeatures=8, outFeatures=8, bias=False)
    case("Linear", 2, 1, 3, 6, inFeatures=6, outFeatures=5, name="4-d input")
    case("Linear", 0, 4, inFeatures=4, outFeatures=3, name="empty batch")
    case("Linear", input=lambda: integers(3, 6), inFeatures=6, outFeatures=4, name="int64")


def batch_norm_cases():
    inputs = {"BatchNorm1d": [(5, 3), (3, 4, 7)], "BatchNorm2d": [(2, 3, 5, 3)], "BatchNorm3d": [(2, 3, 2, 3, 5)]}
    for layer, shapes in inputs.items():
        for shape in shapes:
            features = shape[1]
            for training in (False, True):
                case(layer, *shape, numFeatures=features, training=training)
                case(layer, *shape, numFeatures=features, training=training, affine=False, eps=1e-3, momentum=0.3)
                case(layer, *shape, numFeatures=features, training=training, momentum=None, name="cumulative average")
                case(layer, *shape, numFeatures=features, training=training, trackRunningStats=False)
                case(layer, *shape, numFeatures=features, training=training, trackRunningStats=False, affine=False)
        shape = shapes[-1]
        case(layer, *shape, numFeatures=shape[1], bias=False, name="weight without bias")
        case(layer, 1, *shape[1:], numFeatures=shape[1], training=True, name="one item")
    case("BatchNorm1d", input=lambda: random(4, 3, 9, offset=100), numFeatures=3, training=True, name="large mean")
    case("BatchNorm1d", input=torch.full((2, 3, 4), 0.5).double(), numFeatures=3, training=True, name="constant input")


def group_norm_cases():
    case("GroupNorm", 2, 6, 5, numGroups=3, numChannels=6)
    case("GroupNorm", 2, 6, 5, numGroups=1, numChannels=6, eps=1e-3)
    case("GroupNorm", 2, 6, 5, numGroups=6, numChannels=6)
    case("GroupNorm", 3, 6, numGroups=2, numChannels=6, affine=False, name="2-d input")
    case("GroupNorm", 1, 4, 3, 5, numGroups=2, numChannels=4)
    case("GroupNorm", 2, 4, 3, 5, numGroups=4, numChannels=4, affine=False)
    case("GroupNorm", 2, 9, 2, 3, 2, numGroups=3, numChannels=9)
    case("GroupNorm", 2, 4, 7, numGroups=2, numChannels=4, bias=False, name="weight without bias")
    case("GroupNorm", input=lambda: random(2, 4, 9, offset=100), numGroups=2, numChannels=4, name="large mean")
    case("GroupNorm", input=torch.full((1, 4, 4), 0.5).double(), numGroups=2, numChannels=4, name="constant input")


def instance_norm_cases():
    shapes = {"InstanceNorm1d": (2, 3, 7), "InstanceNorm2d": (2, 3, 5, 3), "InstanceNorm3d": (2, 3, 2, 3, 5)}
    for layer, shape in shapes.items():
        for training in (False, True):
            case(layer, *shape, numFeatures=3, training=training)
            case(layer, *shape, numFeatures=3, training=training, affine=True, eps=1e-3)
            case(layer, *shape, numFeatures=3, training=training, trackRunningStats=True)
            case(layer, *shape, numFeatures=3, training=training, affine=True, trackRunningStats=True, momentum=0.3)
        case(layer, *shape[1:], numFeatures=3, affine=True, name="unbatched")
        case(layer, *shape, numFeatures=3, affine=True, bias=False, name="weight without bias")
    case("InstanceNorm1d", 3, 7, numFeatures=3, trackRunningStats=True, training=True, name="unbatched")
    case("InstanceNorm1d", 2, 3, 7, numFeatures=3, trackRunningStats=True, training=True, momentum=None)


def layer_norm_cases():
    case("LayerNorm", 7, normalizedShape=[7], name="1-d input")
    case("LayerNorm", 3, 7, normalizedShape=[7])
    case("LayerNorm", 2, 3, 33, normalizedShape=[33], eps=1e-3)
    case("LayerNorm", 2, 3, 5, normalizedShape=[3, 5])
    case("LayerNorm", 2, 3, 5, normalizedShape=[2, 3, 5])
    case("LayerNorm", 2, 2, 3, 5, normalizedShape=[3, 5], elementwiseAffine=False)
    case("LayerNorm", 4, 6, normalizedShape=[6], elementwiseAffine=False, eps=1e-6)
    case("LayerNorm", 4, 6, normalizedShape=[6], bias=False)
    case("LayerNorm", 2, 4, 3, normalizedShape=[4, 3], bias=False)
    case("LayerNorm", input=lambda: random(3, 16, offset=100), normalizedShape=[16], name="large mean")
    case("LayerNorm", input=torch.full((2, 8), 0.5).double(), normalizedShape=[8], name="constant input")
    case("LayerNorm", 3, 1, normalizedShape=[1], name="one element")


# Zeros of both signs, tiny, small, ordinary, large and infinite numbers.
EXTREMES = [
    *(0.0, -0.0, 1e-30, -1e-30, 1e-4, -1e-4, 0.5, -0.5, 1.0, -1.0, 2.9, -2.9, 3.0, -3.0, 3.1, -3.1, 6.0, -6.0, 6.1),
    *(-8.7, 10.0, -10.0, 19.9, -19.9, 20.0, -20.0, 20.1, -20.1, 50.0, -50.0, 1e4, -1e4, INF, -INF),
]

# Where PyTorch's formula runs into ∞ · 0 or ∞ / ∞, the result depends on the kernel it picks.
UNDEFINED = {"GELU": (-INF,), "SiLU": (-INF,), "Mish": (-INF,), "Hardswish": (-INF,), "Softsign": (-INF, INF)}


def activation_cases():
    elementwise = [
        ("ReLU", [{}]),
        ("ReLU6", [{}]),
        ("LeakyReLU", [{}, {"negativeSlope": 0.2}, {"negativeSlope": -0.5}]),
        ("PReLU", [{}]),
        ("ELU", [{}, {"alpha": 0.4}]),
        ("SELU", [{}]),
        ("CELU", [{}, {"alpha": 2.5}]),
        ("GELU", [{}, {"approximate": "tanh"}]),
        ("SiLU", [{}]),
        ("Mish", [{}]),
        ("Sigmoid", [{}]),
        ("LogSigmoid", [{}]),
        ("Tanh", [{}]),
        ("Softplus", [{}, {"beta": 2.0}, {"beta": 0.5, "threshold": 3.0}]),
        ("Softsign", [{}]),
        ("Hardswish", [{}]),
        ("Hardsigmoid", [{}]),
        ("Hardtanh", [{}, {"minVal": -0.25, "maxVal": 3.0}]),
    ]
    for layer, variants in elementwise:
        for options in variants:
            case(layer, input=lambda: random(2, 3, 7, scale=3), **options)
            extremes = [number for number in EXTREMES if number not in UNDEFINED.get(layer, ())]
            case(layer, input=values(*extremes), name="extremes", **options)
        case(layer, input=values(NAN, 1.0, NAN, -1.0, 0.0), name="nan", **variants[0])

    case("PReLU", input=lambda: random(2, 5, 7), numParameters=5)
    case("PReLU", input=lambda: random(4, 3), numParameters=3, name="2-d input")
    case("PReLU", input=lambda: random(2, 3, 3, 5), numParameters=3, name="4-d input")

    for layer in ("Softmax", "LogSoftmax"):
        case(layer, 7, dim=0)
        case(layer, 3, 5, dim=1)
        case(layer, 3, 5, dim=0)
        case(layer, 2, 3, 4, 5, dim=1)
        case(layer, 2, 3, 4, 5, dim=-2)
        case(layer, input=lambda: random(2, 33, scale=30), dim=-1, name="wide range")
        case(layer, 3, 1, dim=-1, name="one element")
        finite = [number for number in EXTREMES if number != INF]
        case(layer, input=values(*finite), dim=0, name="extremes")
        case(layer, input=values(-1e4, -1e4 + 1, -1e4 - 1), dim=0, name="extremes")
        case(layer, input=values(1.0, NAN, 2.0), dim=0, name="nan")

    case("GLU", 6)
    case("GLU", 3, 8)
    case("GLU", 2, 6, 5, dim=1)
    case("GLU", 2, 4, 3, 5, dim=-3)
    case("GLU", input=lambda: values(*EXTREMES[:-2] * 2), name="extremes")

    for log_scale in (False, True):
        case("Snake", 2, 5, 9, channels=5, logScale=log_scale)
        case("Snake", input=lambda: random(1, 3, 7, scale=10), channels=3, logScale=log_scale)
        finite = values(*EXTREMES[:-2]).reshape(1, 2, -1)
        alpha = values(0.7, 1.3) if not log_scale else values(-1.0, 0.5)
        shape = [2] if log_scale else [1, 2, 1]
        case(
            "Snake",
            input=finite,
            channels=2,
            logScale=log_scale,
            state={"alpha": alpha.reshape(shape)},
            name="extremes",
        )
    case(
        "Snake",
        1,
        3,
        5,
        channels=3,
        state={"alpha": values(0.0, 1e-6, -2.0).reshape(1, 3, 1)},
        name="zero, tiny and negative alpha",
    )


def max_pool_cases():
    case("MaxPool1d", 2, 3, 9, kernelSize=2)
    case("MaxPool1d", 2, 3, 10, kernelSize=3, stride=2)
    case("MaxPool1d", 2, 3, 9, kernelSize=3, stride=1, padding=1)
    case("MaxPool1d", 1, 2, 13, kernelSize=3, stride=2, padding=1, dilation=2)
    case("MaxPool1d", 1, 2, 10, kernelSize=3, stride=2, ceilMode=True)
    case("MaxPool1d", 1, 2, 5, kernelSize=2, stride=3, padding=1, ceilMode=True, name="last window in the padding")
    case("MaxPool1d", 1, 2, 7, kernelSize=4, stride=5, dilation=2, padding=2, ceilMode=True)
    case("MaxPool1d", 3, 7, kernelSize=3, name="unbatched")
    case("MaxPool1d", input=lambda: random(1, 2, 6, offset=-10), kernelSize=4, padding=2, name="negative input")
    case("MaxPool1d", input=values(1, -INF, -INF, INF, -INF, 2).reshape(1, 1, 6), kernelSize=2, name="extremes")
    case("MaxPool1d", input=values(1, NAN, 3, 4, 2, 2).reshape(1, 1, 6), kernelSize=2, name="nan")
    case("MaxPool1d", input=values(1, 1, 2, 2, 2, 2, 0).reshape(1, 1, 7), kernelSize=3, stride=1, name="ties")
    case("MaxPool2d", 2, 3, 7, 5, kernelSize=2)
    case("MaxPool2d", 2, 3, 7, 8, kernelSize=[3, 2], stride=[2, 1], padding=[1, 0])
    case("MaxPool2d", 1, 2, 9, 8, kernelSize=3, stride=2, padding=1, ceilMode=True)
    case("MaxPool2d", 1, 2, 9, 11, kernelSize=[2, 3], stride=[3, 2], padding=1, dilation=[3, 2])
    case("MaxPool2d", 1, 2, 9, 11, kernelSize=[2, 3], stride=[3, 2], padding=1, dilation=[1, 3], ceilMode=True)
    case("MaxPool2d", 3, 5, 4, kernelSize=2, stride=1, name="unbatched")
    case("MaxPool3d", 1, 2, 5, 4, 7, kernelSize=2)
    case("MaxPool3d", 1, 2, 5, 6, 7, kernelSize=[3, 2, 1], stride=[2, 3, 2], padding=[1, 1, 0])
    case("MaxPool3d", 1, 2, 5, 6, 7, kernelSize=3, stride=2, padding=1, dilation=[1, 2, 1], ceilMode=True)
    case("MaxPool3d", 2, 4, 5, 3, kernelSize=[1, 2, 3], name="unbatched")


def average_pool_cases():
    for include in (True, False):
        case("AvgPool1d", 2, 3, 9, kernelSize=2, countIncludePad=include)
        case("AvgPool1d", 2, 3, 9, kernelSize=4, stride=3, padding=2, countIncludePad=include)
        case("AvgPool1d", 2, 3, 10, kernelSize=4, stride=3, padding=1, ceilMode=True, countIncludePad=include)
        case("AvgPool1d", 1, 2, 5, kernelSize=2, stride=3, padding=1, ceilMode=True, countIncludePad=include)
        case("AvgPool2d", 2, 3, 7, 5, kernelSize=[3, 2], countIncludePad=include)
        case("AvgPool2d", 1, 2, 7, 8, kernelSize=3, stride=[2, 3], padding=1, countIncludePad=include)
        case(
            "AvgPool2d", 1, 2, 8, 9, kernelSize=[3, 4], stride=2, padding=[1, 2], ceilMode=True, countIncludePad=include
        )
        case("AvgPool3d", 1, 2, 5, 4, 7, kernelSize=2, countIncludePad=include)
        case(
            "AvgPool3d",
            1,
            2,
            5,
            6,
            7,
            kernelSize=[3, 2, 4],
            stride=[2, 3, 3],
            padding=[1, 0, 2],
            ceilMode=True,
            countIncludePad=include,
        )
        case("AvgPool3d", 1, 2, 4, 5, 6, kernelSize=3, padding=1, divisorOverride=5, countIncludePad=include)
        case("AvgPool2d", 1, 2, 6, 7, kernelSize=3, padding=1, divisorOverride=4, countIncludePad=include)
    case("AvgPool2d", 1, 2, 8, 7, kernelSize=3, stride=2, ceilMode=True, divisorOverride=2)
    case("AvgPool1d", 3, 7, kernelSize=3, stride=1, name="unbatched")
    case("AvgPool2d", 3, 5, 4, kernelSize=2, name="unbatched")
    case("AvgPool3d", 2, 4, 5, 3, kernelSize=[1, 2, 3], name="unbatched")


def adaptive_pool_cases():
    for kind in ("Avg", "Max"):
        layer = f"Adaptive{kind}Pool"
        case(f"{layer}1d", 2, 3, 10, outputSize=1)
        case(f"{layer}1d", 2, 3, 10, outputSize=5)
        case(f"{layer}1d", 2, 3, 11, outputSize=4, name="not divisible")
        case(f"{layer}1d", 2, 3, 7, outputSize=7, name="same size")
        case(f"{layer}1d", 1, 3, 3, outputSize=7, name="larger output")
        case(f"{layer}1d", 3, 8, outputSize=3, name="unbatched")
        case(f"{layer}2d", 2, 3, 7, 5, outputSize=1)
        case(f"{layer}2d", 2, 3, 7, 9, outputSize=[3, 4], name="not divisible")
        case(f"{layer}2d", 1, 3, 6, 5, outputSize=[None, 2], name="null")
        case(f"{layer}2d", 1, 3, 6, 5, outputSize=[4, None], name="null")
        case(f"{layer}2d", 1, 2, 3, 4, outputSize=[5, 3], name="larger output")
        case(f"{layer}2d", 3, 7, 5, outputSize=2, name="unbatched")
        case(f"{layer}3d", 1, 2, 5, 4, 7, outputSize=[2, 3, 4], name="not divisible")
        case(f"{layer}3d", 1, 2, 3, 4, 7, outputSize=[None, 2, None], name="null")
        case(f"{layer}3d", 1, 2, 3, 4, 5, outputSize=1)


def upsample_cases():
    by_axes = {
        1: ((2, 3, 7), ["nearest", "nearest-exact", "linear"]),
        2: ((1, 2, 5, 7), ["nearest", "nearest-exact", "bilinear", "bicubic"]),
        3: ((1, 2, 3, 4, 5), ["nearest", "nearest-exact", "trilinear"]),
    }
    sizes = {1: [11], 2: [8, 4], 3: [5, 3, 8]}
    factors = {1: [2.6], 2: [1.5, 0.7], 3: [1.7, 0.5, 2.0]}
    for axes, (shape, modes) in by_axes.items():
        for mode in modes:
            for align in (None,) if mode.startswith("nearest") else (None, True):
                options = {"mode": mode, "alignCorners": align}
                case("Upsample", *shape, scaleFactor=2.0, **options)
                case("Upsample", *shape, scaleFactor=factors[axes], name="fractional factor", **options)
                case("Upsample", *shape, size=sizes[axes], name="size", **options)
                case("Upsample", *shape, size=1, name="size 1", **options)
                case("Upsample", *shape[:2], *[1] * axes, size=3, name="one element", **options)
                case("Upsample", *shape, size=list(shape[2:]), name="same size", **options)
                case(
                    "Upsample",
                    *shape,
                    scaleFactor=factors[axes],
                    recomputeScaleFactor=True,
                    name="recomputed factor",
                    **options,
                )
        smooth = modes[-1]
        case("Upsample", *shape, scaleFactor=3.0, mode=smooth, alignCorners=False, name="align corners false")
    case("Upsample", 1, 2, 9, scaleFactor=0.34, mode="nearest", name="smaller")
    case("Upsample", 1, 2, 9, scaleFactor=0.34, mode="linear", name="smaller")
    case("Upsample", 1, 1, 5, scaleFactor=60.0, mode="nearest", name="large factor")
    case("Upsample", 1, 1, 5, scaleFactor=60.0, mode="linear", name="large factor")


def pad_cases():
    shapes = {1: (2, 3, 6), 2: (1, 2, 5, 4), 3: (1, 2, 4, 3, 5)}
    amounts = {
        1: [1, [2, 0], [0, 3], [2, 1]],
        2: [1, [2, 0, 1, 3], [0, 1, 2, 0], [3, 2, 0, 0]],
        3: [1, [2, 0, 1, 2, 0, 3], [0, 4, 2, 0, 1, 1]],
    }
    for kind in ("Constant", "Zero", "Reflection", "Replication", "Circular"):
        for axes, shape in shapes.items():
            layer = f"{kind}Pad{axes}d"
            options = {"value": -1.75} if kind == "Constant" else {}
            for padding in amounts[axes]:
                case(layer, *shape, padding=padding, **options)
            case(layer, *shape[1:], padding=amounts[axes][1], name="unbatched", **options)
    case("ConstantPad1d", 2, 3, 6, padding=[-2, 3], value=0.5, name="negative padding")
    case("ConstantPad2d", 1, 2, 5, 4, padding=[-1, -1, 2, -2], value=0.5, name="negative padding")
    case("ReflectionPad1d", 1, 2, 4, padding=3, name="widest")
    case("CircularPad1d", 1, 2, 4, padding=4, name="widest")
    case("ReplicationPad1d", 1, 2, 3, padding=[9, 7], name="wider than the input")


def shape_cases():
    for probability in (0.0, 0.5, 1.0):
        case("Dropout", 3, 7, p=probability)
    case("Dropout", 3, 7, p=0.0, training=True, name="keeps everything")
    case("Dropout", 3, 7, p=1.0, training=True, name="drops everything")

    case("Flatten", 2, 3, 4)
    case("Flatten", 2, 3, 4, startDim=0)
    case("Flatten", 2, 3, 4, 5, startDim=1, endDim=2)
    case("Flatten", 2, 3, 4, 5, startDim=-3, endDim=-2)
    case("Flatten", 2, 3, 4, startDim=1, endDim=1, name="nothing to do")

    case("Unflatten", 2, 12, dim=1, unflattenedSize=[3, 4])
    case("Unflatten", 2, 12, dim=-1, unflattenedSize=[2, -1, 3], name="inferred size")
    case("Unflatten", 6, 5, 2, dim=0, unflattenedSize=[3, 2])
    case("Unflatten", 2, 8, 3, dim=-2, unflattenedSize=[2, 2, 2])

    table = {"numEmbeddings": 7, "embeddingDim": 5}
    case("Embedding", input=typed(torch.int64, 0, 6, 3, 3), **table)
    case("Embedding", input=lambda: integers(2, 4, low=0, high=7), **table)
    case("Embedding", input=lambda: integers(2, 3, 2, low=0, high=7), **table)
    case("Embedding", input=torch.tensor(4), name="0-d input", **table)
    case("Embedding", input=typed(torch.int64, 2, 0, 2, 5), paddingIdx=2, name="padding row as loaded", **table)
    case("Embedding", input=typed(torch.int64, 6, 1), paddingIdx=-1, name="negative padding index", **table)

    case("PixelShuffle", 2, 8, 3, 5, upscaleFactor=2)
    case("PixelShuffle", 1, 18, 2, 3, upscaleFactor=3)
    case("PixelShuffle", 4, 3, 2, upscaleFactor=2, name="unbatched")
    case("PixelShuffle", 2, 2, 4, 1, 3, upscaleFactor=2, name="two batch axes")
    case("PixelShuffle", 1, 3, 2, 2, upscaleFactor=1, name="factor 1")
    case("PixelUnshuffle", 2, 3, 4, 6, downscaleFactor=2)
    case("PixelUnshuffle", 1, 2, 6, 3, downscaleFactor=3)
    case("PixelUnshuffle", 3, 4, 2, downscaleFactor=2, name="unbatched")
    case("PixelUnshuffle", 2, 2, 1, 2, 4, downscaleFactor=2, name="two batch axes")


def weight_norm_cases():
    conv1d = {"inChannels": 3, "outChannels": 4, "kernelSize": 3, "padding": 1}
    transposed = {"inChannels": 4, "outChannels": 3, "kernelSize": 4, "stride": 2, "padding": 1}
    conv2d = {"inChannels": 2, "outChannels": 3, "kernelSize": [3, 2]}
    for api in ("utils", "parametrizations"):
        for dim in (0, 1, 2, None):
            norm = {"api": api, "dim": dim}
            case("Conv1d", 2, 3, 7, weight_norm=norm, name="weight norm", **conv1d)
            case("ConvTranspose1d", 2, 4, 5, weight_norm=norm, name="weight norm", **transposed)
            case("Conv2d", 1, 2, 5, 4, weight_norm=norm, name="weight norm", **conv2d)
            if dim != 2:
                case("Linear", 3, 5, weight_norm=norm, name="weight norm", inFeatures=5, outFeatures=4)
        norm = {"api": api, "dim": 0}
        case(
            "Conv1d",
            1,
            6,
            9,
            weight_norm=norm,
            inChannels=6,
            outChannels=4,
            kernelSize=5,
            groups=2,
            bias=False,
            name="weight norm, groups, no bias",
        )
        case(
            "ConvTranspose1d",
            1,
            6,
            4,
            weight_norm=norm,
            inChannels=6,
            outChannels=4,
            kernelSize=5,
            stride=3,
            groups=2,
            outputPadding=1,
            name="weight norm, groups, output padding",
        )


def convolution_cases():
    def same(layer, *shape, channels=(3, 4), **options):
        case(
            layer,
            *shape,
            inChannels=channels[0],
            outChannels=channels[1],
            padding="same",
            name="same padding",
            **options,
        )

    for mode in ("zeros", "reflect", "replicate", "circular"):
        for kernel, dilation in ((1, 1), (3, 1), (4, 1), (4, 3), (5, 2), (2, 1)):
            same("Conv1d", 1, 3, 11, kernelSize=kernel, dilation=dilation, paddingMode=mode)
        same("Conv2d", 1, 3, 7, 6, kernelSize=[4, 3], dilation=[1, 2], paddingMode=mode)
    same("Conv1d", 2, 4, 9, channels=(4, 6), kernelSize=4, groups=2, bias=False)
    same("Conv1d", 1, 3, 2, kernelSize=8, dilation=2)
    same("Conv2d", 1, 3, 5, 4, kernelSize=[2, 5], dilation=[3, 1])
    same("Conv3d", 1, 2, 3, 4, 5, channels=(2, 3), kernelSize=[2, 3, 4], dilation=[2, 1, 1])
    same("Conv1d", 3, 7, kernelSize=4)
    case("Conv1d", 1, 3, 9, inChannels=3, outChannels=2, kernelSize=4, padding="valid", name="valid padding")

    case("Conv1d", 3, 9, inChannels=3, outChannels=4, kernelSize=3, stride=2, padding=1, name="unbatched")
    case("Conv2d", 3, 6, 5, inChannels=3, outChannels=2, kernelSize=[3, 2], dilation=[1, 2], name="unbatched")
    case("Conv3d", 2, 4, 3, 5, inChannels=2, outChannels=3, kernelSize=2, bias=False, name="unbatched")
    case("ConvTranspose1d", 3, 5, inChannels=3, outChannels=2, kernelSize=4, stride=3, padding=1, name="unbatched")
    case("ConvTranspose2d", 3, 4, 3, inChannels=3, outChannels=2, kernelSize=3, stride=[2, 1], name="unbatched")
    case("ConvTranspose3d", 2, 2, 3, 2, inChannels=2, outChannels=2, kernelSize=2, stride=2, name="unbatched")
    case("Conv1d", 0, 3, 9, inChannels=3, outChannels=4, kernelSize=3, name="empty batch")
    case("ConvTranspose1d", 0, 3, 9, inChannels=3, outChannels=4, kernelSize=3, name="empty batch")

    def whole(layer, *shape, channels=(3, 4), **options):
        case(
            layer,
            input=lambda: integers(*shape),
            inChannels=channels[0],
            outChannels=channels[1],
            name="int64",
            **options,
        )

    whole("Conv1d", 2, 3, 9, kernelSize=3)
    whole("Conv1d", 2, 3, 12, kernelSize=4, stride=3, padding=2, dilation=2, bias=False)
    whole("Conv1d", 1, 4, 9, channels=(4, 8), kernelSize=3, groups=4)
    whole("Conv1d", 3, 9, kernelSize=3, padding="same")
    whole("Conv2d", 1, 3, 6, 5, kernelSize=[3, 2], stride=[2, 1], padding=1)
    whole("Conv3d", 1, 2, 3, 4, 5, channels=(2, 3), kernelSize=2, padding=[1, 0, 1])
    whole("ConvTranspose1d", 2, 3, 5, kernelSize=4, stride=3, padding=1, outputPadding=2)
    whole("ConvTranspose2d", 1, 3, 4, 3, kernelSize=3, stride=[1, 2], dilation=[2, 1], bias=False)
    whole("ConvTranspose3d", 1, 2, 2, 3, 2, channels=(2, 3), kernelSize=2, stride=2)

    def sized(layer, *shape, size, **options):
        case(
            layer,
            *shape,
            inChannels=shape[-1 - len(size)],
            outChannels=3,
            output_size=size,
            name="output size",
            **options,
        )

    for length in (12, 13, 14):
        sized("ConvTranspose1d", 2, 4, 5, size=[length], kernelSize=4, stride=3, padding=2, dilation=1)
    sized("ConvTranspose1d", 2, 4, 5, size=[17], kernelSize=5, stride=3, outputPadding=1)
    sized("ConvTranspose1d", 4, 5, size=[10], kernelSize=4, stride=2, padding=1)
    sized("ConvTranspose1d", 1, 4, 5, size=[13], kernelSize=3, stride=2, dilation=2, bias=False)
    sized("ConvTranspose2d", 1, 4, 3, 5, size=[6, 10], kernelSize=[2, 3], stride=2, padding=[0, 1], groups=1)
    sized("ConvTranspose2d", 1, 4, 3, 5, size=[7, 10], kernelSize=3, stride=[3, 2], padding=[1, 1])
    sized("ConvTranspose3d", 1, 2, 2, 3, 2, size=[4, 6, 5], kernelSize=2, stride=2)


# MARK: Tensor operations


def over(function, x, axes, keep_dims):
    """A single-axis reduction over several axes, or over all when `axes` is None."""
    axes = range(x.dim()) if axes is None else axes
    for axis in sorted((axis % x.dim() for axis in axes), reverse=True):
        x = function(x, dim=axis, keepdim=keep_dims)
    return x


def every(x, axes):
    """The axes, or all of them."""
    return list(range(x.dim())) if axes is None else axes


def sliced(x, slices):
    """`x[start:end:step, ...]` with one entry per leading axis."""
    return x[tuple(slice(entry["start"], entry["end"], entry["step"]) for entry in slices)]


DTYPES = {
    name: getattr(torch, name) for name in ("float32", "float16", "bfloat16", "int8", "uint8", "int32", "int64", "bool")
}

UNARY = [
    "exp",
    "log",
    "sqrt",
    "abs",
    "neg",
    "sin",
    "cos",
    "tanh",
    "erf",
    "floor",
    "ceil",
    "round",
    "sign",
    "reciprocal",
]
BINARY = ["add", "sub", "mul", "div", "pow", "minimum", "maximum", "eq", "ne", "lt", "le", "gt", "ge"]


def direct(name):
    """PyTorch's function of that name, of the inputs alone."""
    function = getattr(torch, name)
    return lambda t, o: function(*t)


# Each takes the list of inputs and the options.
OPERATIONS = {
    **{name: direct(name) for name in UNARY + BINARY},
    "intDiv": lambda t, o: torch.div(*t, rounding_mode="trunc"),
    "where": lambda t, o: torch.where(*t),
    "sum": lambda t, o: torch.sum(t[0], every(t[0], o["axes"]), keepdim=o["keepDims"]),
    "mean": lambda t, o: torch.mean(t[0], every(t[0], o["axes"]), keepdim=o["keepDims"]),
    "max": lambda t, o: torch.amax(t[0], every(t[0], o["axes"]), keepdim=o["keepDims"]),
    "min": lambda t, o: torch.amin(t[0], every(t[0], o["axes"]), keepdim=o["keepDims"]),
    "prod": lambda t, o: over(torch.prod, t[0], o["axes"], o["keepDims"]),
    "var": lambda t, o: torch.var(t[0], every(t[0], o["axes"]), correction=o["correction"], keepdim=o["keepDims"]),
    "argmax": lambda t, o: torch.argmax(t[0], o["axis"], keepdim=o["keepDims"]),
    "argmin": lambda t, o: torch.argmin(t[0], o["axis"], keepdim=o["keepDims"]),
    "matmul": lambda t, o: torch.matmul(*t),
    "cat": lambda t, o: torch.cat(t, o["axis"]),
    "stack": lambda t, o: torch.stack(t, o["axis"]),
    "pad": lambda t, o: F.pad(t[0], o["padding"], o["mode"], o.get("value")),
    "slice": lambda t, o: sliced(t[0], o["slices"]),
    "flip": lambda t, o: torch.flip(t[0], o["axes"]),
    "permute": lambda t, o: torch.permute(t[0], o["axes"]),
    "expand": lambda t, o: t[0].expand(o["shape"]),
    "cumsum": lambda t, o: torch.cumsum(t[0], o["axis"]),
    "cast": lambda t, o: t[0].to(DTYPES[o["dtype"]]),
}

tensor_ops = Suite("tensor_ops")


def op(operation, *inputs, name="random", **options):
    """Adds one operation; an input is a tensor, a shape to fill with random numbers, or a function."""
    identifier = tensor_ops.start(operation)
    tensors = [x() if callable(x) else random(*x) if isinstance(x, (tuple, list)) else x for x in inputs]

    def compute(dtype):
        return OPERATIONS[operation]([x.to(dtype) if x.dtype == torch.float64 else x for x in tensors], options)

    # A cast is about the float32 value itself.
    output = compute(torch.float32 if operation == "cast" else torch.float64)
    check(identifier, output, compute(torch.float32))
    for index, tensor in enumerate(tensors):
        tensor_ops.store(f"{identifier}.input{index}", tensor)
    tensor_ops.store(f"{identifier}.output", output)
    entry = {
        "id": identifier,
        "name": name,
        "op": operation,
        "options": options,
        "inputs": [{"dtype": dtype_name(x), "shape": list(x.shape)} for x in tensors],
        "output": {"dtype": dtype_name(output), "shape": list(output.shape)},
    }
    tensor_ops.close(entry, allow_nan=name == "nan")


def binary_ops():
    broadcasts = [
        ((2, 3, 5), (2, 3, 5)),
        ((2, 3, 5), (5,)),
        ((2, 1, 5), (3, 1)),
        ((1,), (4, 3)),
        ((), (2, 3)),
        ((3, 2), ()),
        ((4, 1, 1, 3), (2, 5, 1)),
        ((), ()),
        ((2, 0, 3), (1, 1, 3)),
    ]
    for operation in BINARY:
        for a, b in broadcasts:
            if operation == "pow":
                op(operation, lambda a=a: random(*a).abs() + 0.25, b, name="broadcast")
            elif operation == "div":
                op(operation, a, lambda b=b: rounded(random(*b).abs() + 0.25), name="broadcast")
            elif operation in ("eq", "ne", "lt", "le", "gt", "ge"):
                # Few different numbers, so that some are equal.
                few = [lambda s=s: integers(*s, low=-2, high=3).double() for s in (a, b)]
                op(operation, *few, name="broadcast")
            else:
                op(operation, a, b, name="broadcast")

    specials = values(0.0, -0.0, 1.0, -1.0, INF, -INF, 1e-30, 1e30)
    for operation in ("minimum", "maximum", "eq", "ne", "lt", "le", "gt", "ge"):
        op(operation, specials.reshape(-1, 1), specials, name="extremes")
        op(operation, values(NAN, 1.0, NAN, 2.0), values(1.0, NAN, NAN, 2.0), name="nan")
    op("div", values(1, -1, INF, 0, 5, 1e30), values(0.0, 0.0, 2.0, -3.0, INF, 1e-30), name="extremes")
    op("div", values(0, INF), values(0, INF), name="nan")
    op("sub", values(INF, 1), values(INF, 1), name="nan")
    op("mul", values(1e30, -1e30, 1e-30, INF), values(1e30, 1e30, 1e-30, -2), name="overflow and underflow")
    op("pow", values(-2, -2, 2, 0, 0, -1.5, 9, INF, 2, 10), values(3, 2, -1, 0, 2, 3, 0.5, -1, 0.5, -2), name="signs")
    op("pow", values(-2, -8), values(0.5, 1 / 3), name="nan")

    for dtype in (torch.int8, torch.uint8, torch.int32, torch.int64):
        info = torch.iinfo(dtype)
        edges = typed(dtype, info.min, info.min + 1, 0, 1, info.max - 1, info.max, 7, 100)
        for operation in ("add", "sub", "mul"):
            op(operation, edges.reshape(-1, 1), edges, name="wraparound")
        for operation in ("minimum", "maximum", "eq", "lt", "ge"):
            op(operation, edges.reshape(-1, 1), edges, name="integer")
        numbers = typed(dtype, *(range(-7, 8) if info.min < 0 else range(0, 15)))
        divisors = typed(dtype, *(1, 2, 3, 7, 100), *((-1, -2, -3, -7) if info.min < 0 else ()))
        op("intDiv", numbers.reshape(-1, 1), divisors, name="integer")
        op("intDiv", typed(dtype, info.max, info.max, info.min), typed(dtype, 2, info.max, 3), name="range ends")
        op("pow", typed(dtype, 2, 3, 0, 5, 1), typed(dtype, 3, 2, 0, 1, 6), name="integer")
    op("intDiv", typed(torch.int8, -128), typed(torch.int8, -1), name="wraparound")
    op("intDiv", values(7, -7, 7.5, -7.5, 0.5), values(2, 2, -2, 2, 3), name="float32")

    op("where", typed(torch.bool, 1, 0, 1, 0), (4,), (4,))
    op("where", lambda: integers(2, 1, 3, low=0, high=2).bool(), (4, 1), (3,), name="broadcast")
    op("where", lambda: integers(3, 1, low=0, high=2).bool(), (3, 5), (), name="broadcast")
    op("where", torch.tensor(True), (2, 3), (3,), name="broadcast")
    op("where", typed(torch.bool, 1, 0), values(1, NAN), values(NAN, 2), name="nan")
    op("where", typed(torch.bool, 1, 0, 1), typed(torch.int64, 1, 2, 3), typed(torch.int64, -1, -2, -3), name="integer")


def unary_ops():
    for operation in UNARY:
        if operation in ("log", "sqrt"):
            op(operation, lambda: rounded(random(3, 33, scale=4).abs() + 1e-3))
            op(operation, values(0.0, 1e-30, 1e-4, 1.0, 2.0, 1e4, 1e30, INF), name="extremes")
            op(operation, values(-1.0, NAN, 1.0), name="nan")
            continue
        op(operation, lambda: random(3, 33, scale=4))
        extremes = EXTREMES
        if operation in ("sin", "cos"):
            extremes = [number for number in EXTREMES if abs(number) != INF] + [1e6, -123456.0, math.pi, math.pi / 2]
        if operation == "exp":
            extremes = EXTREMES + [88.0, -87.0, 100.0]
        op(operation, values(*extremes), name="extremes")
        if operation != "sign":
            op(operation, values(NAN, 1.0), name="nan")
    halves = [n + 0.5 for n in range(-6, 6)] + [0.49999997, -0.49999997, 1.4999999, 2.5000002]
    for operation in ("round", "floor", "ceil"):
        op(operation, values(*halves, 8388607.5, 8388609.0, -4194303.5, 1e30), name="half to even")
    for operation in ("abs", "neg", "sign"):
        for dtype in (torch.int8, torch.int32, torch.int64):
            info = torch.iinfo(dtype)
            op(operation, typed(dtype, info.min, info.min + 1, -5, -1, 0, 1, 5, info.max), name="wraparound")
    op("neg", typed(torch.uint8, 0, 1, 128, 255), name="wraparound")
    op("exp", (), name="0-d")
    op("abs", (2, 0, 3), name="empty")


def reductions():
    selections = [
        ((7,), [0]),
        ((7,), None),
        ((2, 3, 5), [0]),
        ((2, 3, 5), [1]),
        ((2, 3, 5), [-1]),
        ((2, 3, 5), [0, 2]),
        ((2, 3, 5), [-2, -1]),
        ((2, 3, 5), None),
        ((2, 3, 4, 5), [1, 3]),
        ((2, 3, 4, 5), [0, -2]),
        ((3, 67), [1]),
        ((67, 3), [0]),
    ]
    for operation in ("sum", "mean", "max", "min", "prod", "var"):
        for keep in (False, True):
            for shape, axes in selections:
                extra = {"correction": int(not keep)} if operation == "var" else {}
                op(operation, shape, axes=axes, keepDims=keep, **extra)
    for operation in ("argmax", "argmin"):
        for keep in (False, True):
            for shape, axis in [((7,), 0), ((2, 3, 5), 0), ((2, 3, 5), 1), ((2, 3, 5), -1), ((2, 3, 5), None)]:
                op(operation, shape, axis=axis, keepDims=keep)
        op(operation, values(1, 3, 3, 1, 3, 1), axis=0, keepDims=False, name="first of equals")
        op(operation, values(-INF, 3, INF, INF, -INF), axis=0, keepDims=False, name="extremes")
        op(operation, values(1, NAN, 5, NAN, 0), axis=0, keepDims=False, name="nan")
        op(operation, lambda: integers(4, 5), axis=-1, keepDims=False, name="integer")
    for operation in ("max", "min"):
        op(operation, values(1, NAN, 5), axes=[0], keepDims=False, name="nan")
        op(operation, values(-INF, -INF, INF, 1).reshape(2, 2), axes=[1], keepDims=False, name="extremes")
        op(operation, lambda: integers(4, 5, dtype=torch.int32), axes=[0], keepDims=False, name="integer")
    for operation in ("sum", "mean", "prod", "max"):
        op(operation, (), axes=None, keepDims=False, name="0-d")
    for operation in ("sum", "prod"):
        op(operation, (2, 0, 3), axes=[1], keepDims=False, name="empty axis")
        op(operation, lambda: integers(3, 4, low=-5, high=6), axes=[1], keepDims=False, name="integer")
        op(
            operation,
            lambda: integers(3, 4, low=-100, high=100, dtype=torch.int8),
            axes=[1],
            keepDims=False,
            name="int8 to int64",
        )
    op("sum", typed(torch.bool, 1, 0, 1, 1), axes=None, keepDims=False, name="bool to int64")
    op("var", lambda: random(2, 50, offset=100), axes=[1], keepDims=False, correction=1, name="large mean")
    op("var", (3, 1), axes=[1], keepDims=False, correction=0, name="one element")
    op("mean", lambda: random(1000, offset=100), axes=None, keepDims=False, name="large mean")
    for axis in (0, 1, -1):
        op("cumsum", (2, 3, 5), axis=axis)
    op("cumsum", (9,), axis=0)
    op("cumsum", lambda: integers(3, 4), axis=1, name="integer")
    op("cumsum", (2, 0), axis=1, name="empty")


def matrix_products():
    shapes = [
        ((5,), (5,)),
        ((3, 5), (5,)),
        ((5,), (5, 4)),
        ((3, 5), (5, 4)),
        ((1, 7), (7, 1)),
        ((17, 33), (33, 9)),
        ((2, 3, 5), (5,)),
        ((5,), (2, 5, 4)),
        ((2, 3, 5), (5, 4)),
        ((3, 5), (2, 5, 4)),
        ((2, 3, 5), (2, 5, 4)),
        ((1, 3, 5), (4, 5, 2)),
        ((2, 1, 3, 5), (4, 5, 2)),
        ((2, 1, 3, 5), (1, 4, 5, 2)),
        ((2, 2, 3, 5), (5,)),
    ]
    for a, b in shapes:
        op("matmul", a, b)
    op("matmul", (3, 0), (0, 4), name="empty sum")
    op("matmul", (0, 3), (3, 4), name="empty")
    op("matmul", lambda: integers(3, 5), lambda: integers(5, 4), name="integer")


def rearrangements():
    op("cat", (2, 3), (4, 3), axis=0)
    op("cat", (2, 3), (2, 1), (2, 4), axis=1)
    op("cat", (2, 3, 4), (2, 3, 1), axis=-1)
    op("cat", (2, 1, 4), (2, 3, 4), axis=-2)
    op("cat", (2, 0, 3), (2, 2, 3), axis=1, name="empty")
    op("cat", (3, 2), axis=0, name="one tensor")
    op("cat", lambda: integers(2, 3), lambda: integers(1, 3), axis=0, name="integer")
    for axis in (0, 1, 2, -1):
        op("stack", (2, 3), (2, 3), (2, 3), axis=axis)

    op("pad", (2, 3, 5), padding=[2, 1], mode="constant", value=0.0)
    op("pad", (2, 3, 5), padding=[0, 1, 2, 0], mode="constant", value=-1.5)
    op("pad", (2, 3, 5), padding=[1, 0, 0, 2, 3, 1], mode="constant", value=0.25)
    op("pad", (2, 3, 5), padding=[-1, -2, 1, -1], mode="constant", value=9.0, name="negative padding")
    op("pad", (4,), padding=[1, 2], mode="constant", value=0.0)
    op("pad", lambda: integers(2, 3), padding=[1, 2], mode="constant", value=7, name="integer")
    for mode in ("reflect", "replicate", "circular"):
        op("pad", (2, 3, 5), padding=[2, 1], mode=mode)
        op("pad", (2, 3, 5), padding=[0, 4], mode=mode)
        op("pad", (3, 5), padding=[3, 0], mode=mode)
        op("pad", (1, 2, 4, 5), padding=[2, 1, 0, 3], mode=mode)
        op("pad", (2, 4, 5), padding=[1, 0, 3, 2], mode=mode)
        op("pad", (1, 2, 3, 4, 3), padding=[2, 1, 0, 3, 1, 2], mode=mode)
    op("pad", (1, 1, 2), padding=[7, 5], mode="replicate", name="wider than the input")

    def entry(start=None, end=None, step=1):
        return {"start": start, "end": end, "step": step}

    op("slice", (9,), slices=[entry(2, 7)])
    op("slice", (9,), slices=[entry(1, 8, 3)])
    op("slice", (9,), slices=[entry(step=2)])
    op("slice", (9,), slices=[entry(-4, -1)], name="negative ends")
    op("slice", (9,), slices=[entry(-20, 20, 4)], name="beyond the ends")
    op("slice", (9,), slices=[entry(5, 5)], name="empty")
    op("slice", (9,), slices=[entry(7, 3)], name="empty")
    op("slice", (5, 7), slices=[entry(1, 4), entry(step=3)])
    op("slice", (5, 7), slices=[entry(), entry(-3)])
    op("slice", (3, 4, 5), slices=[entry(), entry(1, None, 2), entry(None, -1, 2)])
    op("slice", (3, 4, 5), slices=[entry(1)], name="leading axis only")
    op("slice", lambda: integers(6, 2), slices=[entry(0, 6, 5)], name="integer")

    op("flip", (7,), axes=[0])
    op("flip", (2, 3, 4), axes=[1])
    op("flip", (2, 3, 4), axes=[0, -1])
    op("flip", (2, 3, 4), axes=[0, 1, 2])
    op("permute", (2, 3), axes=[1, 0])
    op("permute", (2, 3, 4), axes=[2, 0, 1])
    op("permute", (2, 3, 4), axes=[0, -1, 1])
    op("permute", (2, 3, 4, 5), axes=[3, 1, 0, 2])
    op("permute", (17, 9), axes=[1, 0])
    op("expand", (1, 3), shape=[4, 3])
    op("expand", (3, 1), shape=[2, 3, 5], name="new axis")
    op("expand", (2, 1, 3), shape=[-1, 4, -1], name="kept sizes")
    op("expand", (), shape=[2, 3])
    op("expand", (1, 2), shape=[0, 2], name="empty")


def casts():
    fractions = [0.0, -0.0, 0.4, -0.4, 0.5, -0.5, 0.999, -0.999, 1.5, -1.5, 2.5, -2.5, 7.99, -7.99, 127.0, 127.9]
    op("cast", values(*fractions, -128.0, -128.9, 100.5), dtype="int8", name="truncation")
    positive = [number for number in fractions if number > -1]
    op("cast", values(*positive, 128.0, 200.7, 255.0, 255.9), dtype="uint8", name="truncation")
    op("cast", values(*fractions, 1e9, -1e9, 2147483520.0, -2147483648.0), dtype="int32", name="truncation")
    op("cast", values(*fractions, 1e12, -1e15, 2.0**62, -(2.0**63)), dtype="int64", name="truncation")
    op("cast", values(0.0, -0.0, 1.0, -1.0, 0.1, 1e-30, 1e-45, INF, -INF), dtype="bool", name="nonzero")
    op("cast", values(NAN, 0.0), dtype="bool", name="nan")
    op("cast", (33,), dtype="float16")
    op("cast", (33,), dtype="bfloat16")
    half = [0.0, -0.0, 1.0, 1 + 2**-11, 1 + 3 * 2**-11, 1 + 2**-11 + 2**-20, -1 - 2**-11, 2048.0, 2049.0, 2051.0]
    half += [65504.0, 65519.0, 65519.996, 65520.0, -65520.0, 1e30, INF, -INF, 2**-14, 2**-24, 2**-25, 2**-25 + 2**-40]
    half += [3 * 2**-25, 2**-14 - 2**-25, 2**-14 - 2**-26, 1e-8, -1e-7, 0.1, 1 / 3, 1e-30]
    op("cast", values(*half), dtype="float16", name="rounding")
    brain = [0.0, -0.0, 1.0, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, -1 - 2**-8, 256.0, 257.0, 259.0, 0.1, 1 / 3]
    brain += [65504.0, 1e30, -1e30, 1e38, 3.3895314e38, 3.3961775e38, 3.4028235e38, INF, -INF, 1e-30, 1e-38, 1e-40]
    op("cast", values(*brain), dtype="bfloat16", name="rounding")

    small = {"int8": (-128, -1, 0, 1, 127), "uint8": (0, 1, 127, 128, 255), "bool": (0, 1)}
    for dtype, numbers in small.items():
        op("cast", typed(DTYPES[dtype], *numbers), dtype="float32", name="exact")
    big = (16777216, 16777217, 16777219, -16777217, 2147483647, -2147483648, 33554435)
    op("cast", typed(torch.int32, *big), dtype="float32", name="rounding")
    huge = (2**62 + 2**38 + 1, 2**53 + 1, 2**63 - 1, -(2**63), 2**40 + 2**16, 2**40 + 3 * 2**16, 2**40 + 2**16 + 1)
    op("cast", typed(torch.int64, *big, *huge), dtype="float32", name="rounding")
    op("cast", typed(torch.int32, 0, 2049, 2051, 65519, 65520, -70000, 3), dtype="float16", name="rounding")
    op("cast", typed(torch.int32, 0, 257, 259, 65519, -70000, 3), dtype="bfloat16", name="rounding")
    for dtype in ("int8", "uint8"):
        op("cast", typed(torch.int64, -129, -128, -1, 0, 127, 128, 255, 256, 1000), dtype=dtype, name="wraparound")
    op("cast", typed(torch.int64, 2**31, -(2**31) - 1, 2**32 + 5, -1), dtype="int32", name="wraparound")
    op("cast", typed(torch.int8, -128, -1, 0, 5, 127), dtype="uint8", name="wraparound")
    op("cast", typed(torch.uint8, 0, 127, 128, 255), dtype="int8", name="wraparound")
    op("cast", typed(torch.int32, 0, 256, -1, 5), dtype="bool", name="nonzero")
    op("cast", typed(torch.bool, 0, 1), dtype="int64", name="exact")
    op("cast", lambda: random(17).to(torch.float16), dtype="float32", name="exact")
    op("cast", lambda: random(17).to(torch.bfloat16), dtype="float32", name="exact")
    for dtype in (torch.float16, torch.bfloat16):
        info = torch.finfo(dtype)
        ends = torch.tensor([0.0, -0.0, info.max, info.min, info.tiny, info.tiny / 2, INF, -INF], dtype=dtype)
        op("cast", ends, dtype="float32", name="extremes")
    op("cast", lambda: random(17).to(torch.float16), dtype="bfloat16", name="between halves")


# MARK: Printed modules

PRINTED = """
nn.Linear(4, 3)
nn.Linear(4, 3, bias=False)
nn.Conv1d(3, 8, 5)
nn.Conv1d(4, 8, 4, stride=2, padding=3, dilation=2, groups=2, bias=False, padding_mode='reflect')
nn.Conv1d(3, 8, 4, padding='same')
nn.Conv2d(3, 8, (3, 5), stride=(2, 1), padding=(1, 0))
nn.Conv3d(1, 2, 3)
nn.ConvTranspose1d(8, 4, 16, stride=8, padding=4)
nn.ConvTranspose1d(8, 4, 5, stride=3, padding=1, output_padding=2, groups=4, dilation=2, bias=False)
nn.ConvTranspose2d(3, 2, (3, 4), stride=2)
nn.BatchNorm1d(5)
nn.BatchNorm2d(5, eps=0.001, momentum=None, affine=False)
nn.InstanceNorm1d(5, affine=True)
nn.GroupNorm(2, 6)
nn.LayerNorm(7)
nn.LayerNorm((3, 5), elementwise_affine=False)
nn.ReLU()
nn.ReLU6()
nn.LeakyReLU(0.1)
nn.PReLU(3)
nn.ELU(alpha=0.5)
nn.CELU()
nn.SELU()
nn.GELU()
nn.GELU(approximate='tanh')
nn.SiLU()
nn.Hardtanh(-2, 2)
nn.Softplus(2.0)
nn.Softmax(dim=-1)
nn.GLU(1)
nn.MaxPool1d(3, stride=2, padding=1)
nn.MaxPool2d((3, 2), dilation=2, ceil_mode=True)
nn.AvgPool1d(3, stride=2)
nn.AvgPool2d((3, 2), padding=1)
nn.AdaptiveAvgPool1d(4)
nn.AdaptiveAvgPool2d((None, 3))
nn.AdaptiveMaxPool1d(4)
nn.Upsample(scale_factor=2.0)
nn.Upsample(size=(5, 6), mode='bilinear')
nn.ConstantPad1d((1, 2), 0.5)
nn.ZeroPad2d(1)
nn.ReflectionPad1d((3, 4))
nn.ReplicationPad2d((1, 2, 3, 4))
nn.CircularPad1d(2)
nn.Dropout(0.1)
nn.Flatten()
nn.Unflatten(1, (3, 4))
nn.Embedding(7, 5, padding_idx=2)
nn.PixelShuffle(2)
nn.PixelUnshuffle(2)
nn.Identity()
nn.Sequential(nn.Conv1d(1, 4, 3), nn.ReLU(), nn.Sequential(nn.Flatten(), nn.Linear(8, 2)))
nn.ModuleList([nn.ReLU(), nn.ReLU(), nn.Tanh()])
nn.ModuleDict({'a': nn.ReLU(), 'b': nn.Linear(2, 3)})
nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))
""".strip().splitlines()


def printed_modules():
    """How PyTorch prints each module."""
    return {
        "source": f"PyTorch {torch.__version__.split('+')[0]}",
        "modules": [{"constructor": expression, "repr": repr(eval(expression, {"nn": nn}))} for expression in PRINTED],
    }


def main():
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    # oneDNN's float32 kernels are for speed; its GELU has no value at infinity.
    torch.backends.mkldnn.enabled = False
    # The older weight norm, padding 'same' with an even kernel and the like.
    warnings.simplefilter("ignore")

    for make in (
        *(linear_cases, batch_norm_cases, group_norm_cases, instance_norm_cases, layer_norm_cases),
        *(activation_cases, max_pool_cases, average_pool_cases, adaptive_pool_cases, upsample_cases),
        *(pad_cases, shape_cases, convolution_cases, weight_norm_cases),
    ):
        make()
    layers.write(folder)

    for make in (binary_ops, unary_ops, reductions, matrix_products, rearrangements, casts):
        make()
    tensor_ops.write(folder)

    text = json.dumps(printed_modules(), indent=1)
    (folder / "extra_repr.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
