"""Makes small generators of kinds that the bundled one is not, and what PyTorch computes with them.

    pip install torch safetensors; python generate_variants.py

For each NAME: NAME.json (configuration), and in variants.safetensors the state dictionary below `NAME.`, `NAME.mel` and
`NAME.output`.
"""

import json
import pathlib

import torch
from safetensors.torch import save_file
from torch.nn import Conv1d, ConvTranspose1d, Module, ModuleList
from torch.nn import functional as F
from torch.nn.utils import remove_weight_norm, weight_norm

HERE = pathlib.Path(__file__).parent


class Block(Module):
    def __init__(self, kind, channels, kernel, dilations):
        super().__init__()

        def convolutions(dilations):
            return ModuleList(
                weight_norm(Conv1d(channels, channels, kernel, dilation=d, padding=(kernel - 1) * d // 2)) for d in dilations
            )

        self.kind = kind
        if kind == "1":
            self.convs1, self.convs2 = convolutions(dilations), convolutions([1] * len(dilations))
        else:
            self.convs = convolutions(dilations)

    def forward(self, x):
        if self.kind == "1":
            for one, two in zip(self.convs1, self.convs2):
                x = x + two(F.leaky_relu(one(F.leaky_relu(x, 0.1)), 0.1))
            return x
        for one in self.convs:
            x = x + one(F.leaky_relu(x, 0.1))
        return x


class Generator(Module):
    """The published generator, with ParallelWaveGAN's padding (its issue 287) of kernels twice as long as an odd rate."""

    def __init__(self, c):
        super().__init__()
        channels = c["upsample_initial_channel"]
        self.conv_pre = weight_norm(Conv1d(c["num_mels"], channels, 7, padding=3))
        self.ups, self.resblocks = ModuleList(), ModuleList()
        self.count = len(c["resblock_kernel_sizes"])
        for u, k in zip(c["upsample_rates"], c["upsample_kernel_sizes"]):
            odd = k == 2 * u
            padding, extra = (u // 2 + u % 2, u % 2) if odd else ((k - u) // 2, 0)
            self.ups.append(weight_norm(ConvTranspose1d(channels, channels // 2, k, u, padding, extra)))
            channels //= 2
            for kernel, dilations in zip(c["resblock_kernel_sizes"], c["resblock_dilation_sizes"]):
                self.resblocks.append(Block(c["resblock"], channels, kernel, dilations))
        self.conv_post = weight_norm(Conv1d(channels, 1, 7, padding=3))

    def forward(self, x):
        x = self.conv_pre(x)
        for index, up in enumerate(self.ups):
            x = up(F.leaky_relu(x, 0.1))
            x = sum(b(x) for b in self.resblocks[index * self.count : (index + 1) * self.count]) / self.count
        return torch.tanh(self.conv_post(F.leaky_relu(x)))


def configuration(rates, kernels, resblock="2", dilations=(1, 2)):
    hop = 1
    for rate in rates:
        hop *= rate
    return {
        "resblock": resblock, "upsample_rates": rates, "upsample_kernel_sizes": kernels, "upsample_initial_channel": 16,
        "resblock_kernel_sizes": [3], "resblock_dilation_sizes": [list(dilations)], "num_mels": 8, "n_fft": 512, "hop_size": hop,
        "win_size": 400, "sampling_rate": 16000, "fmin": 0, "fmax": 8000,
    }


VARIANTS = {
    "odd-5-5": (configuration([8, 5, 5], [16, 10, 10]), []),
    "odd-3": (configuration([3, 2], [6, 4], "1"), []),
    "odd-7-mixed": (configuration([7, 4], [14, 10]), []),
    # Filters of zeros: pruned ones, and those that half precision made zero.
    "dead-first": (configuration([4, 4], [8, 8]), ["conv_pre", 3]),
    "dead-transposed": (configuration([4, 2], [8, 4]), ["ups.0", 5]),
    "dead-block": (configuration([4, 2], [8, 4], "1", [1, 3]), ["resblocks.0.convs1.1", 0]),
}


def main():
    tensors = {}
    for seed, (name, (c, dead)) in enumerate(VARIANTS.items()):
        torch.manual_seed(seed)
        model = Generator(c).eval()
        with torch.no_grad():
            for module in model.modules():
                if isinstance(module, (Conv1d, ConvTranspose1d)):
                    remove_weight_norm(module)
                    if not dead:
                        weight_norm(module)
            if dead:
                model.get_submodule(dead[0]).weight[dead[1]] = 0
            mel = torch.randn(1, c["num_mels"], 9)
            output = model.double()(mel.double()).float()
        (HERE / f"{name}.json").write_text(json.dumps(c))
        tensors |= {f"{name}.{key}": value.float().contiguous() for key, value in model.state_dict().items()}
        tensors |= {f"{name}.mel": mel, f"{name}.output": output.contiguous()}
    save_file(tensors, HERE / "variants.safetensors")


main()
