#!/usr/bin/env python3
"""Writes whole networks as ONNX models with PyTorch's inputs and outputs, as tests for `toeplitz verify`.

Needs the Python packages torch, numpy and onnx. All weights are random.

    Scripts/make-onnx-models.py FOLDER [--small] [NAME ...]
    toeplitz verify FOLDER --rtol 1e-4 --atol 1e-4
"""

import argparse
import pathlib
import warnings

import numpy as np
import torch
from onnx import numpy_helper
from torch import nn
from torch.nn import functional as F

warnings.filterwarnings("ignore")


class BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, inputs, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.down = shortcut(inputs, width, stride)

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.down(x))


class Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, inputs, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.down = shortcut(inputs, 4 * width, stride)

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + self.down(x))


def shortcut(inputs, outputs, stride):
    if inputs == outputs and stride == 1:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


class ResNet(nn.Module):
    def __init__(self, block, layers):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        parts, inputs = [], 64
        for stage, count in enumerate(layers):
            for index in range(count):
                parts.append(block(inputs, 64 << stage, 2 if stage and not index else 1))
                inputs = (64 << stage) * block.expansion
        self.body = nn.Sequential(*parts)
        self.fc = nn.Linear(inputs, 1000)

    def forward(self, x):
        x = self.body(self.stem(x))
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


class Inverted(nn.Module):
    def __init__(self, inputs, outputs, stride, expansion):
        super().__init__()
        width = inputs * expansion
        parts = [] if expansion == 1 else [nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU6()]
        parts += [nn.Conv2d(width, width, 3, stride, 1, groups=width, bias=False), nn.BatchNorm2d(width), nn.ReLU6()]
        parts += [nn.Conv2d(width, outputs, 1, bias=False), nn.BatchNorm2d(outputs)]
        self.body = nn.Sequential(*parts)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x):
        return x + self.body(x) if self.adds else self.body(x)


class MobileNetV2(nn.Module):
    def __init__(self):
        super().__init__()
        parts = [nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU6()]
        inputs = 32
        plan = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
        for expansion, outputs, count, stride in plan:
            for index in range(count):
                parts.append(Inverted(inputs, outputs, stride if index == 0 else 1, expansion))
                inputs = outputs
        parts += [nn.Conv2d(320, 1280, 1, bias=False), nn.BatchNorm2d(1280), nn.ReLU6()]
        self.features = nn.Sequential(*parts)
        self.classifier = nn.Linear(1280, 1000)

    def forward(self, x):
        return self.classifier(self.features(x).mean([2, 3]))


def double(inputs, outputs):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU())


class UNet(nn.Module):
    def __init__(self, width):
        super().__init__()
        sizes = [width << level for level in range(5)]
        self.down = nn.ModuleList([double(3, sizes[0])] + [double(a, b) for a, b in zip(sizes, sizes[1:])])
        self.up = nn.ModuleList([nn.ConvTranspose2d(b, a, 2, 2) for a, b in zip(sizes, sizes[1:])])
        self.join = nn.ModuleList([double(b, a) for a, b in zip(sizes, sizes[1:])])
        self.out = nn.Conv2d(sizes[0], 2, 1)

    def forward(self, x):
        kept = []
        for index, block in enumerate(self.down):
            x = block(x if index == 0 else F.max_pool2d(x, 2))
            kept.append(x)
        for level in reversed(range(4)):
            x = self.join[level](torch.cat([kept[level], self.up[level](x)], 1))
        return self.out(x)


class ResBlock(nn.Module):
    def __init__(self, channels, kernel):
        super().__init__()
        norm = torch.nn.utils.parametrizations.weight_norm
        self.first = nn.ModuleList(
            norm(nn.Conv1d(channels, channels, kernel, padding=d * (kernel - 1) // 2, dilation=d)) for d in (1, 3, 5))
        self.second = nn.ModuleList(
            norm(nn.Conv1d(channels, channels, kernel, padding=(kernel - 1) // 2)) for _ in range(3))

    def forward(self, x):
        for a, b in zip(self.first, self.second):
            x = x + b(F.leaky_relu(a(F.leaky_relu(x, 0.1)), 0.1))
        return x


class HiFiGAN(nn.Module):
    def __init__(self, width):
        super().__init__()
        norm = torch.nn.utils.parametrizations.weight_norm
        self.pre = norm(nn.Conv1d(80, width, 7, padding=3))
        rates, kernels = (8, 8, 2, 2), (16, 16, 4, 4)
        self.ups = nn.ModuleList(
            norm(nn.ConvTranspose1d(width >> i, width >> (i + 1), k, r, (k - r) // 2))
            for i, (r, k) in enumerate(zip(rates, kernels)))
        self.blocks = nn.ModuleList(ResBlock(width >> (i + 1), k) for i in range(4) for k in (3, 7, 11))
        self.post = norm(nn.Conv1d(width >> 4, 1, 7, padding=3))

    def forward(self, mel):
        x = self.pre(mel)
        for i, up in enumerate(self.ups):
            x = up(F.leaky_relu(x, 0.1))
            x = sum(block(x) for block in self.blocks[3 * i : 3 * i + 3]) / 3
        return torch.tanh(self.post(F.leaky_relu(x)))


class EnCodecLike(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.pre = nn.Conv1d(1, width, 7, padding=3, padding_mode="reflect")
        self.down = nn.ModuleList(
            nn.Conv1d(width << i, width << (i + 1), 2 * r, r, (r + 1) // 2, padding_mode="reflect")
            for i, r in enumerate((2, 4, 5)))
        self.lstm = nn.LSTM(width << 3, width << 3, 2, batch_first=True)
        self.up = nn.ModuleList(
            nn.ConvTranspose1d(width << (i + 1), width << i, 2 * r, r, (r + 1) // 2, r % 2)
            for i, r in reversed(list(enumerate((2, 4, 5)))))
        self.post = nn.Conv1d(width, 1, 7, padding=3)

    def forward(self, x):
        x = self.pre(x)
        for down in self.down:
            x = down(F.elu(x))
        y, _ = self.lstm(x.transpose(1, 2))
        x = x + y.transpose(1, 2)
        for up in self.up:
            x = up(F.elu(x))
        return torch.tanh(self.post(F.elu(x)))


class CSP(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        half = outputs // 2
        self.left = nn.Sequential(nn.Conv2d(inputs, half, 1), nn.BatchNorm2d(half), nn.SiLU())
        self.right = nn.Sequential(nn.Conv2d(inputs, half, 1), nn.BatchNorm2d(half), nn.SiLU())
        self.body = nn.Sequential(nn.Conv2d(half, half, 3, padding=1), nn.BatchNorm2d(half), nn.SiLU())
        self.out = nn.Sequential(nn.Conv2d(outputs, outputs, 1), nn.BatchNorm2d(outputs), nn.SiLU())

    def forward(self, x):
        left = self.left(x)
        return self.out(torch.cat([left + self.body(left), self.right(x)], 1))


class YOLOLike(nn.Module):
    def __init__(self, width, classes=20):
        super().__init__()
        def reduce(a, b):
            return nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), nn.BatchNorm2d(b), nn.SiLU())
        self.stem = reduce(3, width)
        self.stages = nn.ModuleList(
            nn.Sequential(reduce(width << i, width << (i + 1)), CSP(width << (i + 1), width << (i + 1))) for i in range(4))
        self.pool = nn.MaxPool2d(5, 1, 2)
        self.merge = nn.ModuleList([CSP(3 * width << 3, width << 3), CSP(3 * width << 2, width << 2)])
        self.spp = nn.Conv2d(3 * width << 4, width << 4, 1)
        self.heads = nn.ModuleList(nn.Conv2d(width << i, classes + 5, 1) for i in (2, 3, 4))

    def forward(self, x):
        x = self.stem(x)
        kept = []
        for stage in self.stages:
            x = stage(x)
            kept.append(x)
        a = self.pool(x)
        x = self.spp(torch.cat([x, a, self.pool(a)], 1))
        outputs = [x]
        for merge, other in zip(self.merge, (kept[2], kept[1])):
            x = merge(torch.cat([F.interpolate(x, scale_factor=2.0, mode="nearest"), other], 1))
            outputs.append(x)
        found = []
        for head, level in zip(self.heads, reversed(outputs)):
            y = torch.sigmoid(head(level))
            n, c, h, w = y.shape
            rows = torch.arange(h, dtype=torch.float32).view(1, 1, h, 1).expand(1, 1, h, w)
            columns = torch.arange(w, dtype=torch.float32).view(1, 1, 1, w).expand(1, 1, h, w)
            grid = torch.cat([columns, rows], 1)
            boxes = torch.cat([y[:, :2] * 2 - 0.5 + grid, (y[:, 2:4] * 2) ** 2, y[:, 4:]], 1)
            found.append(boxes.flatten(2).permute(0, 2, 1))
        return torch.cat(found, 1)


def models(small):
    side = 64 if small else 224
    images = {0: "N", 2: "H", 3: "W"}
    return {
        "resnet18": (lambda: ResNet(BasicBlock, [2, 2, 2, 2]), (1, 3, side, side), images),
        "resnet50": (lambda: ResNet(Bottleneck, [3, 4, 6, 3]), (1, 3, side, side), images),
        "mobilenetv2": (MobileNetV2, (1, 3, side, side), images),
        "unet": (lambda: UNet(16 if small else 64), (1, 3, 64 if small else 256, 64 if small else 256), images),
        "hifigan": (lambda: HiFiGAN(64 if small else 512), (1, 80, 20 if small else 100), {0: "N", 2: "L"}),
        "encodec": (lambda: EnCodecLike(8 if small else 32), (1, 1, 1600 if small else 16000), {2: "L"}),
        "yolo": (lambda: YOLOLike(8 if small else 32), (1, 3, 96 if small else 320, 96 if small else 320), {2: "H", 3: "W"}),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--small", action="store_true", help="small sizes, for quick tests")
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    for name, (make, shape, dynamic) in models(arguments.small).items():
        if arguments.names and name not in arguments.names:
            continue
        torch.manual_seed(1)
        model = make().eval()
        # Statistics as after training, so that normalisations do something.
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
                module.weight.data.uniform_(0.5, 1.0)
                module.bias.data.normal_(0, 0.1)
        x = torch.rand(shape) * 2 - 1
        with torch.no_grad():
            y = model(x)
        test = arguments.folder / name
        data = test / "test_data_set_0"
        data.mkdir(parents=True, exist_ok=True)
        torch.onnx.export(
            model, (x,), str(test / "model.onnx"), input_names=["x"], output_names=["y"], opset_version=17, dynamo=False,
            dynamic_axes={"x": dynamic})
        (data / "input_0.pb").write_bytes(numpy_helper.from_array(x.numpy(), "x").SerializeToString())
        (data / "output_0.pb").write_bytes(numpy_helper.from_array(y.numpy(), "y").SerializeToString())
        np.save(test / "x.npy", x.numpy())
        print(name, tuple(x.shape), tuple(y.shape), float(y.abs().max()))


if __name__ == "__main__":
    main()
