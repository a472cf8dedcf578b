"""The convolution cases of `toeplitz bench`, as PyTorch calls and one-node ONNX models."""

import dataclasses
import math

import numpy as np


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    rank: int
    transposed: bool
    batch: int
    cin: int
    cout: int
    size: tuple
    kernel: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1

    @property
    def family(self):
        if self.groups > 1 or min(self.cin, self.cout) <= 3:
            return "depthwise and few channels"
        return "transposed" if self.transposed else f"{self.rank}-d dense"

    def output_size(self):
        if self.transposed:
            return [
                (n - 1) * self.stride - 2 * self.padding + self.dilation * (self.kernel - 1) + 1 for n in self.size
            ]
        return [(n + 2 * self.padding - self.dilation * (self.kernel - 1) - 1) // self.stride + 1 for n in self.size]

    def flops(self):
        positions = math.prod(self.size if self.transposed else self.output_size())
        return 2 * self.batch * self.cin * self.cout // self.groups * self.kernel**self.rank * positions

    def weight_shape(self):
        first, second = (self.cin, self.cout) if self.transposed else (self.cout, self.cin)
        return [first, second // self.groups] + [self.kernel] * self.rank

    def torch_call(self, x, weight, bias):
        import torch.nn.functional as functional

        name = f"conv_transpose{self.rank}d" if self.transposed else f"conv{self.rank}d"
        call = getattr(functional, name)
        return lambda: call(
            x, weight, bias, stride=self.stride, padding=self.padding, dilation=self.dilation, groups=self.groups
        )

    def onnx_model(self, weight, bias):
        import onnx
        from onnx import TensorProto, helper, numpy_helper

        node = helper.make_node(
            "ConvTranspose" if self.transposed else "Conv",
            ["x", "w", "b"],
            ["y"],
            kernel_shape=[self.kernel] * self.rank,
            strides=[self.stride] * self.rank,
            pads=[self.padding] * (2 * self.rank),
            dilations=[self.dilation] * self.rank,
            group=self.groups,
        )
        graph = helper.make_graph(
            [node],
            "case",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [self.batch, self.cin, *self.size])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [self.batch, self.cout, *self.output_size()])],
            [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(bias, "b")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 8
        return model.SerializeToString()


def _one(name, cin, cout, length, kernel, **options):
    return Case(name, 1, False, options.pop("batch", 1), cin, cout, (length,), kernel, **options)


def _one_t(name, cin, cout, length, kernel, **options):
    return Case(name, 1, True, options.pop("batch", 1), cin, cout, (length,), kernel, **options)


def _two(name, cin, cout, side, kernel, transposed=False, **options):
    return Case(name, 2, transposed, options.pop("batch", 1), cin, cout, (side, side), kernel, **options)


CASES = [
    _one("hifigan.pre", 80, 512, 100, 7, padding=3),
    _one_t("hifigan.up1", 512, 256, 100, 16, stride=8, padding=4),
    _one_t("hifigan.up2", 256, 128, 800, 16, stride=8, padding=4),
    _one_t("hifigan.up3", 128, 64, 6400, 4, stride=2, padding=1),
    _one_t("hifigan.up4", 64, 32, 12800, 4, stride=2, padding=1),
    _one("hifigan.mrf256.k3", 256, 256, 800, 3, padding=1),
    _one("hifigan.mrf128.k7d3", 128, 128, 6400, 7, padding=9, dilation=3),
    _one("hifigan.mrf64.k11d5", 64, 64, 12800, 11, padding=25, dilation=5),
    _one("hifigan.mrf32.k11", 32, 32, 25600, 11, padding=5),
    _one("hifigan.post", 32, 1, 25600, 7, padding=3),
    _one_t("kokoro.up1", 512, 256, 200, 20, stride=10, padding=5),
    _one_t("dac.up1", 1536, 768, 100, 16, stride=8, padding=4),
    _one_t("dac.up1.stream4", 1536, 768, 4, 16, stride=8, padding=4),
    _one_t("istft.ct1d", 1026, 1, 224, 1024, stride=256),
    _one_t("depthwise.ct1d", 256, 256, 1000, 12, groups=256, batch=8),
    _one("vocos.dw7", 512, 512, 400, 7, padding=3, groups=512),
    _one("wav2vec.conv0", 1, 512, 16000, 10, stride=5),
    _one("wav2vec.conv1", 512, 512, 3199, 3, stride=2),
    _two("resnet.stem", 3, 64, 224, 7, stride=2, padding=3),
    _two("resnet.56.3x3", 64, 64, 56, 3, padding=1),
    _two("resnet.28.3x3", 128, 128, 28, 3, padding=1),
    _two("resnet.14.3x3", 256, 256, 14, 3, padding=1),
    _two("resnet.7.3x3", 512, 512, 7, 3, padding=1),
    _two("resnet.14.1x1", 1024, 256, 14, 1),
    _two("mobilenet.dw112", 32, 32, 112, 3, padding=1, groups=32),
    _two("mobilenet.dw14", 512, 512, 14, 3, padding=1, groups=512),
    _two("unet.256", 64, 64, 256, 3, padding=1),
    _two("unet.up", 512, 256, 32, 2, transposed=True, stride=2),
    _two("dcgan.up", 256, 128, 16, 4, transposed=True, stride=2, padding=1, batch=8),
    Case("conv3d.32", 3, False, 1, 32, 32, (16, 64, 64), 3, padding=1),
]


def data(case):
    """Input, weight and bias of a case, the same on every run."""
    random = np.random.default_rng(7)
    scale = 1 / math.sqrt(case.cin // case.groups * case.kernel**case.rank)
    x = random.uniform(-1, 1, [case.batch, case.cin, *case.size]).astype(np.float32)
    weight = (random.uniform(-1, 1, case.weight_shape()) * scale).astype(np.float32)
    bias = random.uniform(-1, 1, [case.cout]).astype(np.float32)
    return x, weight, bias
