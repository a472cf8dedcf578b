"""Ten networks with random weights, in small configurations: N[name] = (factory, example inputs, dynamic axes of each input).

Needs torch, timm, torchaudio and transformers. A factory gives a module whose forward takes the inputs and gives tensors.
"""

import torch
import torch.nn as nn

torch.manual_seed(0)
N = {}
BATCH, LENGTH = {0: "batch"}, {0: "batch", 1: "length"}


def timm_model(name, size):
    def make():
        import timm

        return timm.create_model(name, pretrained=False).eval()

    N[name] = (make, (torch.randn(1, 3, size, size),), [BATCH])


for name in ("pvt_v2_b0", "resnext50_32x4d", "xception41", "convformer_s18", "coatnet_nano_rw_224"):
    timm_model(name, 224)


class First(nn.Module):
    """The first output, or the named one, of a module."""

    def __init__(self, module, name=None, **options):
        super().__init__()
        self.module, self.name, self.options = module, name, options

    def forward(self, *x):
        y = self.module(*x, **self.options)
        return getattr(y, self.name) if self.name else y[0] if isinstance(y, tuple) else y


class ConformerStack(nn.Module):
    """torchaudio's Conformer on frames that are all there."""

    def __init__(self):
        super().__init__()
        from torchaudio.models import Conformer

        self.layers = Conformer(144, 4, 576, 4, 31).conformer_layers

    def forward(self, x):
        x = x.transpose(0, 1)
        for layer in self.layers:
            x = layer(x, None)
        return x.transpose(0, 1)


N["conformer"] = (lambda: ConformerStack().eval(), (torch.randn(1, 200, 144),), [LENGTH])


def wav2letter():
    from torchaudio.models import Wav2Letter

    return Wav2Letter(num_classes=40, input_type="mfcc", num_features=40).eval()


N["wav2letter"] = (wav2letter, (torch.randn(1, 40, 300),), [{0: "batch", 2: "length"}])


def sew():
    from transformers import SEWConfig, SEWModel

    config = SEWConfig(hidden_size=256, num_hidden_layers=4, num_attention_heads=4, intermediate_size=1024)
    return First(SEWModel(config).eval(), "last_hidden_state")


N["sew"] = (sew, (torch.randn(1, 16000),), [BATCH])


def segformer():
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    return First(SegformerForSemanticSegmentation(SegformerConfig()).eval(), "logits")


N["segformer_b0"] = (segformer, (torch.randn(1, 3, 256, 256),), [BATCH])


def speecht5():
    from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

    return SpeechT5HifiGan(SpeechT5HifiGanConfig(upsample_initial_channel=256)).eval()


N["speecht5_hifigan"] = (speecht5, (torch.randn(1, 40, 80),), [LENGTH])
