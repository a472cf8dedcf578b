"""The whole networks of `toeplitz bench` as PyTorch modules, with the parameter names of their published code."""

import math

import torch
import torch.nn.functional as functional
from torch import nn


class HiFiGAN(nn.Module):
    """The generator of HiFi-GAN (Kong, Kim and Bae, 2020), weight norm multiplied out."""

    SLOPE = 0.1

    def __init__(self, config):
        super().__init__()
        width = config["upsample_initial_channel"]
        self.conv_pre = nn.Conv1d(80, width, 7, padding=3)
        self.ups = nn.ModuleList()
        self.resblocks = nn.ModuleList()
        for rate, kernel in zip(config["upsample_rates"], config["upsample_kernel_sizes"]):
            self.ups.append(nn.ConvTranspose1d(width, width // 2, kernel, rate, padding=(kernel - rate) // 2))
            width //= 2
            for size, dilations in zip(config["resblock_kernel_sizes"], config["resblock_dilation_sizes"]):
                self.resblocks.append(HiFiGANBlock(width, size, dilations, paired=config["resblock"] == "1"))
        self.conv_post = nn.Conv1d(width, 1, 7, padding=3)
        self.kinds = len(config["resblock_kernel_sizes"])

    def forward(self, x):
        x = self.conv_pre(x)
        for stage, up in enumerate(self.ups):
            x = up(functional.leaky_relu(x, self.SLOPE))
            blocks = self.resblocks[stage * self.kinds : (stage + 1) * self.kinds]
            total = blocks[0](x)
            for block in blocks[1:]:
                total = total + block(x)
            x = total / self.kinds
        return torch.tanh(self.conv_post(functional.leaky_relu(x)))


class HiFiGANBlock(nn.Module):
    def __init__(self, width, kernel, dilations, paired):
        super().__init__()

        def convolutions(dilations):
            return nn.ModuleList(
                nn.Conv1d(width, width, kernel, dilation=d, padding=d * (kernel - 1) // 2) for d in dilations
            )

        self.paired = paired
        if paired:
            self.convs1 = convolutions(dilations)
            self.convs2 = convolutions([1] * len(dilations))
        else:
            self.convs = convolutions(dilations)

    def forward(self, x):
        for convs in zip(self.convs1, self.convs2) if self.paired else zip(self.convs):
            y = x
            for conv in convs:
                y = conv(functional.leaky_relu(y, HiFiGAN.SLOPE))
            x = x + y
        return x


V1 = {
    "resblock": "1",
    "upsample_rates": [8, 8, 2, 2],
    "upsample_kernel_sizes": [16, 16, 4, 4],
    "upsample_initial_channel": 512,
    "resblock_kernel_sizes": [3, 7, 11],
    "resblock_dilation_sizes": [[1, 3, 5]] * 3,
}
V3 = {
    "resblock": "2",
    "upsample_rates": [8, 8, 4],
    "upsample_kernel_sizes": [16, 16, 8],
    "upsample_initial_channel": 256,
    "resblock_kernel_sizes": [3, 5, 7],
    "resblock_dilation_sizes": [[1, 2], [2, 6], [3, 12]],
}


class ResNet50(nn.Module):
    """ResNet-50 as torchvision has it."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.width = 64
        self.layer1 = self.stage(64, 3, 1)
        self.layer2 = self.stage(128, 4, 2)
        self.layer3 = self.stage(256, 6, 2)
        self.layer4 = self.stage(512, 3, 2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(2048, 1000)

    def stage(self, planes, count, stride):
        blocks = []
        for index in range(count):
            blocks.append(Bottleneck(self.width, planes, stride if index == 0 else 1))
            self.width = 4 * planes
        return nn.Sequential(*blocks)

    def forward(self, x):
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


class Bottleneck(nn.Module):
    def __init__(self, before, planes, stride):
        super().__init__()
        after = 4 * planes
        self.conv1 = nn.Conv2d(before, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, after, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(after)
        self.downsample = None
        if stride != 1 or before != after:
            self.downsample = nn.Sequential(
                nn.Conv2d(before, after, 1, stride=stride, bias=False), nn.BatchNorm2d(after)
            )

    def forward(self, x):
        identity = x if self.downsample is None else self.downsample(x)
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        return torch.relu(self.bn3(self.conv3(y)) + identity)


class MobileNetV2(nn.Module):
    """MobileNetV2 as torchvision has it."""

    SETTINGS = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]

    def __init__(self):
        super().__init__()
        width = 32
        layers = [self.block(3, width, 3, stride=2)]
        for expansion, channels, count, stride in self.SETTINGS:
            for index in range(count):
                layers.append(InvertedResidual(width, channels, stride if index == 0 else 1, expansion))
                width = channels
        layers.append(self.block(width, 1280, 1))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, 1000))

    @staticmethod
    def block(before, after, kernel, stride=1, groups=1):
        padding = (kernel - 1) // 2
        convolution = nn.Conv2d(before, after, kernel, stride=stride, padding=padding, groups=groups, bias=False)
        return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU6())

    def forward(self, x):
        return self.classifier(self.features(x).mean([2, 3]))


class InvertedResidual(nn.Module):
    def __init__(self, before, after, stride, expansion):
        super().__init__()
        hidden = before * expansion
        layers = [] if expansion == 1 else [MobileNetV2.block(before, hidden, 1)]
        layers.append(MobileNetV2.block(hidden, hidden, 3, stride=stride, groups=hidden))
        layers += [nn.Conv2d(hidden, after, 1, bias=False), nn.BatchNorm2d(after)]
        self.conv = nn.Sequential(*layers)
        self.keeps_shape = stride == 1 and before == after

    def forward(self, x):
        return x + self.conv(x) if self.keeps_shape else self.conv(x)


class UNet(nn.Module):
    """A U-Net with the names of github.com/milesial/Pytorch-UNet.

    Without `pads` for images whose sizes are multiples of 16: nothing is padded then, and nobody has to copy.
    """

    def __init__(self, channels=3, classes=2, base=64, bilinear=False, pads=False):
        super().__init__()
        wide = [base << i for i in range(5)]
        share = 2 if bilinear else 1
        self.inc = DoubleConv(channels, wide[0])
        self.down1, self.down2, self.down3 = (Down(wide[i], wide[i + 1]) for i in range(3))
        self.down4 = Down(wide[3], wide[4] // share)
        self.up1, self.up2, self.up3 = (Up(wide[4 - i], wide[3 - i] // share, bilinear, pads) for i in range(3))
        self.up4 = Up(wide[1], wide[0], bilinear, pads)
        self.outc = OutConv(wide[0], classes)

    def forward(self, x):
        skips = [self.inc(x)]
        for down in (self.down1, self.down2, self.down3, self.down4):
            skips.append(down(skips[-1]))
        x = skips.pop()
        for up in (self.up1, self.up2, self.up3, self.up4):
            x = up(x, skips.pop())
        return self.outc(x)


class DoubleConv(nn.Module):
    def __init__(self, before, after, middle=None):
        super().__init__()
        middle = middle or after
        layers = []
        for i, o in ((before, middle), (middle, after)):
            layers += [nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU()]
        self.double_conv = nn.Sequential(*layers)

    def forward(self, x):
        return self.double_conv(x)


class Down(nn.Module):
    def __init__(self, before, after):
        super().__init__()
        self.maxpool_conv = nn.Sequential(nn.MaxPool2d(2), DoubleConv(before, after))

    def forward(self, x):
        return self.maxpool_conv(x)


class Up(nn.Module):
    def __init__(self, before, after, bilinear, pads):
        super().__init__()
        self.pads = pads
        if bilinear:
            self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
            self.conv = DoubleConv(before, after, before // 2)
        else:
            self.up = nn.ConvTranspose2d(before, before // 2, 2, stride=2)
            self.conv = DoubleConv(before, after)

    def forward(self, x, skip):
        x = self.up(x)
        if self.pads:
            dy, dx = skip.shape[2] - x.shape[2], skip.shape[3] - x.shape[3]
            x = functional.pad(x, [dx // 2, dx - dx // 2, dy // 2, dy - dy // 2])
        return self.conv(torch.cat([skip, x], dim=1))


class OutConv(nn.Module):
    def __init__(self, before, after):
        super().__init__()
        self.conv = nn.Conv2d(before, after, 1)

    def forward(self, x):
        return self.conv(x)


#: What `toeplitz bench --list` calls the networks.
NETWORKS = {
    "hifigan.v1": lambda: HiFiGAN(V1),
    "hifigan.v3": lambda: HiFiGAN(V3),
    "resnet50": ResNet50,
    "mobilenetv2": MobileNetV2,
    "unet": UNet,
}


def random_network(name, seed=11):
    """The network in evaluation mode with random numbers that keep activations moderate, the same on every run."""
    network = NETWORKS[name]().eval()
    source = torch.Generator().manual_seed(seed)
    state = network.state_dict()
    for key, tensor in state.items():
        if key.endswith("running_var") or (key.endswith("weight") and tensor.ndim == 1):
            tensor.uniform_(0.5, 1.5, generator=source)
        elif key.endswith("weight"):
            # Rectifiers halve the variance, residual blocks of a generator add theirs up.
            gain = 3 if name.startswith("hifigan") else 6
            bound = math.sqrt(gain / math.prod(tensor.shape[1:]))
            tensor.uniform_(-bound, bound, generator=source)
        elif tensor.is_floating_point():
            tensor.uniform_(-0.2, 0.2, generator=source)
    return network
