"""A training loop on CIFAR-100 as tutorials and published code write it, to compare ours with."""

import random
from collections.abc import Callable, Iterator
from typing import Any

import torch
from benchmarks.measure.ensembling import published_loss
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from torchbake.data.loading.open_data import Data
from torchbake.models.create import create_model
from torchbake.training.distributed import prepare_device
from torchbake.training.network import PRECISIONS

BATCH, PARTNERS = 128, 3


class _Pictures(Dataset[tuple[Tensor, int]]):
    """CIFAR-100 as torchvision has it: pictures made of an array, and transformed."""

    def __init__(self, data: Data) -> None:
        assert data.pixels is not None
        self.pixels = data.pixels[0].permute(0, 2, 3, 1).contiguous().numpy()
        self.labels = data.source.train.labels.tolist()
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(data.mean, data.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.pixels[index])), self.labels[index]


class _ClassLists:
    """Each image and others of its class, taken out of a list of them that is made for it."""

    def __init__(self, labels: list[int], partners: int) -> None:
        self.labels = labels
        self.partners = partners
        self.members: dict[int, list[int]] = {}
        for index, label in enumerate(labels):
            self.members.setdefault(label, []).append(index)

    def __iter__(self) -> Iterator[list[int]]:
        batch: list[int] = []
        order = list(range(len(self.labels)))
        random.shuffle(order)
        for index in order:
            others = [member for member in self.members[self.labels[index]] if member != index]
            batch += [index, *random.sample(others, self.partners)]
            if len(batch) == BATCH:
                yield batch
                batch = []


def ordinary(
    data: Data, name: str, method: str, workers: int, precision: str = "float32"
) -> Callable[[], None]:
    """Its step: a batch to an update of a network of this name, with so many worker processes."""
    device = prepare_device("auto", 0)
    pictures = _Pictures(data)
    bake = method == "bake"
    settings: dict[str, Any] = {"num_workers": workers, "persistent_workers": workers > 0}
    settings["pin_memory"] = device.type == "cuda"
    if bake:
        sampler = _ClassLists(pictures.labels, PARTNERS)
        loader = DataLoader(pictures, batch_sampler=sampler, **settings)
    else:
        loader = DataLoader(pictures, BATCH, shuffle=True, drop_last=True, **settings)
    model = create_model(name, num_classes=100).to(device).train()
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, nesterov=True
    )
    criterion = nn.CrossEntropyLoss()

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield from loader

    drawn = batches()

    dtype = PRECISIONS[precision]
    total = 0.0

    def step() -> None:
        nonlocal total
        images, labels = next(drawn)
        images, labels = images.to(device), labels.to(device)
        with torch.autocast(device.type, dtype=dtype, enabled=dtype is not None):
            features, logits = model(images)
            loss = criterion(logits, labels)
        if bake:
            loss = loss + published_loss(logits.float(), features.float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()  # for its average, as such loops keep it

    return step
