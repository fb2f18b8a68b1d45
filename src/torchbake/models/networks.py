"""Networks that the literature uses and timm lacks, most of them for small images.

Each ends in a linear layer, whose input is the pooled features.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn
from torch.nn import functional as F

from .._shapes import Float, Tensor


class PreActivationBlock(nn.Module):
    """BN, ReLU, 3×3 convolution, twice, beside a shortcut (He et al., arXiv 1603.05027)."""

    def __init__(self, channels: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.shortcut: nn.Conv2d | None = None
        if stride != 1 or channels != width:
            self.shortcut = nn.Conv2d(channels, width, 1, stride, bias=False)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h2 w2"]:
        active = F.relu(self.bn1(x))
        beside = x if self.shortcut is None else self.shortcut(active)
        return beside + self.conv2(F.relu(self.bn2(self.conv1(active))))


class BasicBlock(nn.Module):
    """3×3 convolution, BN, ReLU, twice, with a shortcut that has no parameters.

    He et al., arXiv 1512.03385, section 4.2: where the shape changes, the shortcut takes every
    second pixel and pads the new channels with zeros (option A).
    """

    def __init__(self, channels: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.stride = stride
        self.new_channels = width - channels

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h2 w2"]:
        beside = x[:, :, :: self.stride, :: self.stride]
        beside = F.pad(beside, (0, 0, 0, 0, 0, self.new_channels))
        return F.relu(beside + self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))


class SmallImageResNet(nn.Module):
    """A ResNet whose 3×3 stem keeps the resolution; each stage after the first halves it."""

    def __init__(
        self,
        block: Callable[[int, int, int], nn.Module],
        widths: Sequence[int],
        depths: Sequence[int],
        *,
        stem: int,
        stem_norm: bool,
        final_norm: bool,
        num_classes: int,
        in_chans: int = 3,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(in_chans, stem, 3, padding=1, bias=False)]
        if stem_norm:
            layers += [nn.BatchNorm2d(stem), nn.ReLU()]
        self.stem = nn.Sequential(*layers)
        channels = stem
        stages = []
        for number, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            stage = []
            for index in range(depth):
                stage.append(block(channels, width, 2 if number and not index else 1))
                channels = width
            stages.append(nn.Sequential(*stage))
        self.stages = nn.Sequential(*stages)
        self.feature_info = [{"module": f"stages.{k}"} for k in range(len(stages))]  # as timm's
        self.norm = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU()) if final_norm else None
        self.fc = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        x = self.stages(self.stem(x))
        if self.norm is not None:
            x = self.norm(x)
        return self.fc(x.mean(dim=(2, 3)))


def preact_resnet18(num_classes: int, in_chans: int = 3) -> nn.Module:
    """Pre-activation ResNet-18 with a 3×3 stem and 512 features, as CS-KD and BAKE use it.

    Their form normalises after the stem and not before the pooling, so that features have signs.
    """
    return SmallImageResNet(
        PreActivationBlock,
        (64, 128, 256, 512),
        (2, 2, 2, 2),
        stem=64,
        stem_norm=True,
        final_norm=False,
        num_classes=num_classes,
        in_chans=in_chans,
    )


def wide_resnet28_10(num_classes: int, in_chans: int = 3) -> nn.Module:
    """WideResNet-28-10 without dropout (Zagoruyko and Komodakis, arXiv 1605.07146)."""
    return SmallImageResNet(
        PreActivationBlock,
        (160, 320, 640),
        (4, 4, 4),
        stem=16,
        stem_norm=False,
        final_norm=True,
        num_classes=num_classes,
        in_chans=in_chans,
    )


def _resnet(depth: int, num_classes: int, in_chans: int) -> nn.Module:
    return SmallImageResNet(
        BasicBlock,
        (16, 32, 64),
        [(depth - 2) // 6] * 3,
        stem=16,
        stem_norm=True,
        final_norm=False,
        num_classes=num_classes,
        in_chans=in_chans,
    )


def resnet8(num_classes: int, in_chans: int = 3) -> nn.Module:
    """ResNet-8 for 32×32 images: ResNet-20 with one block a stage, for studies without a GPU."""
    return _resnet(8, num_classes, in_chans)


def resnet20(num_classes: int, in_chans: int = 3) -> nn.Module:
    """ResNet-20 for 32×32 images (He et al., arXiv 1512.03385, section 4.2)."""
    return _resnet(20, num_classes, in_chans)


def resnet56(num_classes: int, in_chans: int = 3) -> nn.Module:
    """ResNet-56 for 32×32 images (He et al., arXiv 1512.03385, section 4.2)."""
    return _resnet(56, num_classes, in_chans)


def densenet121_32(num_classes: int, in_chans: int = 3) -> nn.Module:
    """DenseNet-121 with growth 32 and, for 32×32 images, a 3×3 stem without pooling."""
    import timm

    network: Any = timm.create_model("densenet121", num_classes=num_classes, in_chans=in_chans)
    network.features.conv0 = nn.Conv2d(in_chans, 64, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(network.features.conv0.weight)
    network.features.pool0 = nn.Identity()
    return network


def resnext152_32x4d(num_classes: int, in_chans: int = 3) -> nn.Module:
    """ResNeXt-152 of 32 groups, 4 channels wide in the first stage (Xie et al., 1611.05431)."""
    import timm

    resnet: Any = timm.models.resnet
    return resnet.ResNet(
        resnet.Bottleneck,
        layers=(3, 8, 36, 3),
        cardinality=32,
        base_width=4,
        num_classes=num_classes,
        in_chans=in_chans,
    )


def small_cnn(num_classes: int, in_chans: int = 1) -> nn.Module:
    """Three 3×3 convolutions and 64 features, for tiny greyscale images such as 8×8 digits."""
    layers: list[nn.Module] = []
    for channels, width, stride in ((in_chans, 32, 1), (32, 64, 2), (64, 64, 1)):
        convolution = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        layers.append(nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU()))
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    fc = nn.Linear(64, num_classes)
    network: Any = nn.Sequential(OrderedDict(layers=nn.Sequential(*layers), fc=fc))
    network.feature_info = [{"module": f"layers.{stage}"} for stage in range(3)]  # as timm's
    return network


NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "densenet121_32": densenet121_32,
    "preact_resnet18": preact_resnet18,
    "resnet20": resnet20,
    "resnet56": resnet56,
    "resnet8": resnet8,
    "resnext152_32x4d": resnext152_32x4d,
    "small_cnn": small_cnn,
    "wide_resnet28_10": wide_resnet28_10,
}
