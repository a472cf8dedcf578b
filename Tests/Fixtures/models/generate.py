"""Makes the golden data of this folder from PyTorch and torchvision.

    pip install -r requirements.txt && python generate.py [output folder]

Writes models.json (for each model its options and the names and shapes of its state dictionary) and models.safetensors
(the outputs of those that have an input). Weights are not stored: both sides compute them from their names (`hashed`), so
published networks of full width fit into small files. Outputs are computed in float64 and rounded to float32 once.
"""

import json
import math
import sys
import zlib
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
import torchvision
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet


def hashed(name, shape, low, high):
    """Numbers in `low`..`high` that depend on the tensor's name and the element's index alone."""
    index = np.arange(math.prod(shape), dtype=np.uint64)
    mask = np.uint64(0xFFFFFFFF)
    h = (index * np.uint64(0x9E3779B1) + np.uint64(zlib.crc32(name.encode()))) & mask
    for shift, factor in ((15, 0x85EBCA77), (13, 0xC2B2AE3D)):
        h ^= h >> np.uint64(shift)
        h = (h * np.uint64(factor)) & mask
    h ^= h >> np.uint64(16)
    unit = (h >> np.uint64(8)).astype(np.float32) * np.float32(2**-24)
    return torch.from_numpy(np.float32(low) + unit * np.float32(high - low)).reshape(shape)


def state(model):
    """A state dictionary of hashed numbers in the ranges that keep activations moderate."""
    found = {}
    for name, tensor in model.state_dict().items():
        shape = list(tensor.shape)
        if name.endswith("num_batches_tracked"):
            found[name] = torch.zeros(shape, dtype=torch.int64)
        elif name.endswith("running_var") or (name.endswith("weight") and len(shape) == 1):
            found[name] = hashed(name, shape, 0.5, 1.5)
        elif name.endswith("weight"):
            bound = math.sqrt(6 / math.prod(shape[1:]))
            found[name] = hashed(name, shape, -bound, bound)
        else:
            found[name] = hashed(name, shape, -0.25, 0.25)
    return found


# MARK: U-Net, as described in the paper and named as in github.com/milesial/Pytorch-UNet


class DoubleConv(nn.Module):
    def __init__(self, before, after, middle=None):
        super().__init__()
        middle = middle or after
        self.double_conv = nn.Sequential(
            nn.Conv2d(before, middle, 3, padding=1, bias=False), nn.BatchNorm2d(middle), nn.ReLU(),
            nn.Conv2d(middle, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(),
        )  # fmt: skip

    def forward(self, x):
        return self.double_conv(x)


class Down(nn.Module):
    def __init__(self, before, after):
        super().__init__()
        self.maxpool_conv = nn.Sequential(nn.MaxPool2d(2), DoubleConv(before, after))

    def forward(self, x):
        return self.maxpool_conv(x)


class Up(nn.Module):
    def __init__(self, before, after, bilinear):
        super().__init__()
        if bilinear:
            self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
            self.conv = DoubleConv(before, after, before // 2)
        else:
            self.up = nn.ConvTranspose2d(before, before // 2, 2, stride=2)
            self.conv = DoubleConv(before, after)

    def forward(self, x, skip):
        x = self.up(x)
        dy, dx = skip.shape[2] - x.shape[2], skip.shape[3] - x.shape[3]
        x = nn.functional.pad(x, [dx // 2, dx - dx // 2, dy // 2, dy - dy // 2])
        return self.conv(torch.cat([skip, x], dim=1))


class OutConv(nn.Module):
    def __init__(self, before, after):
        super().__init__()
        self.conv = nn.Conv2d(before, after, 1)

    def forward(self, x):
        return self.conv(x)


class UNet(nn.Module):
    def __init__(self, channels, classes, base, bilinear):
        super().__init__()
        wide = [base << i for i in range(5)]
        share = 2 if bilinear else 1
        self.inc = DoubleConv(channels, wide[0])
        self.down1, self.down2, self.down3 = (Down(wide[i], wide[i + 1]) for i in range(3))
        self.down4 = Down(wide[3], wide[4] // share)
        self.up1, self.up2, self.up3 = (Up(wide[4 - i], wide[3 - i] // share, bilinear) for i in range(3))
        self.up4 = Up(wide[1], wide[0], bilinear)
        self.outc = OutConv(wide[0], classes)

    def forward(self, x):
        skips = [self.inc(x)]
        for down in (self.down1, self.down2, self.down3, self.down4):
            skips.append(down(skips[-1]))
        x = skips.pop()
        for up in (self.up1, self.up2, self.up3, self.up4):
            x = up(x, skips.pop())
        return self.outc(x)


# MARK: Cases: identifier, options for the test, model, input shape (None: names and shapes only)

CASES = [
    ("resnet50", {}, torchvision.models.resnet50(), None),
    ("resnext50", {}, torchvision.models.resnext50_32x4d(), None),
    ("resnet18", {"classes": 10}, torchvision.models.resnet18(num_classes=10), [2, 3, 64, 64]),
    ("resnet-basic", {"block": "basic", "layers": [1, 1, 1, 1], "classes": 7},
     ResNet(BasicBlock, [1, 1, 1, 1], num_classes=7), [1, 3, 65, 50]),
    ("resnet-bottleneck", {"block": "bottleneck", "layers": [1, 2, 1, 1], "groups": 4, "width": 16, "classes": 7},
     ResNet(Bottleneck, [1, 2, 1, 1], groups=4, width_per_group=16, num_classes=7), [1, 3, 64, 96]),
    ("mobilenet", {}, torchvision.models.mobilenet_v2(), None),
    ("mobilenet-small", {"classes": 10, "multiplier": 0.75},
     torchvision.models.mobilenet_v2(num_classes=10, width_mult=0.75), [2, 3, 96, 64]),
    ("unet", {}, UNet(3, 2, 64, False), None),
    ("unet-transposed", {"classes": 3, "base": 8, "bilinear": False}, UNet(3, 3, 8, False), [1, 3, 37, 50]),
    ("unet-bilinear", {"classes": 3, "base": 8, "bilinear": True}, UNet(3, 3, 8, True), [2, 3, 48, 35]),
]  # fmt: skip


def main():
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent)
    cases, tensors = [], {}
    for identifier, options, model, shape in CASES:
        names = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
        cases.append({"id": identifier, **options, "input": shape, "state": names})
        if shape is None:
            continue
        model.load_state_dict(state(model))
        x = hashed(identifier + ".input", shape, -1, 1)
        with torch.no_grad():
            y = model.double().eval()(x.double())
            y32 = model.float()(x)
        error = ((y32 - y).abs().max() / y.abs().max()).item()
        print(f"{identifier}: output {list(y.shape)}, largest {y.abs().max():.3g}, float32's error {error:.1e}")
        assert error < 1e-5
        tensors[identifier + ".output"] = y.float().contiguous()
    source = f"PyTorch {torch.__version__}, torchvision {torchvision.__version__}"
    lines = ",\n".join(json.dumps(case) for case in cases)
    (folder / "models.json").write_text(f'{{"source": {json.dumps(source)}, "cases": [\n{lines}\n]}}\n')
    safetensors.torch.save_file(tensors, folder / "models.safetensors")


if __name__ == "__main__":
    main()
