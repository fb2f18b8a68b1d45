"""BAKE in plain PyTorch, on one process or several.

python examples/pytorch_ddp.py
torchrun --nproc-per-node 2 examples/pytorch_ddp.py
"""

import os

import torch
import torch.distributed as dist
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset

from torchbake import BAKELoss, ClassGroupedBatchSampler, with_features

several = "WORLD_SIZE" in os.environ  # torchrun's
if several:
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")

images, labels = map(torch.tensor, load_digits(return_X_y=True))
images = (images / 16).float().view(-1, 1, 8, 8)
train, test = slice(0, 300), slice(300, None)

torch.manual_seed(0)
network = nn.Sequential(
    nn.Conv2d(1, 32, 3),
    nn.ReLU(),
    nn.Conv2d(32, 64, 3),
    nn.ReLU(),
    nn.Flatten(),
    nn.Linear(1024, 10),
)
model = with_features(network)  # (features, logits) in training, plain logits in evaluation
wrapped = DistributedDataParallel(model) if several else model
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

criterion = BAKELoss(group=dist.group.WORLD)  # the images of all ranks teach each other
sampler = ClassGroupedBatchSampler(labels[train], batch_size=32, partners=3)
loader = DataLoader(TensorDataset(images[train], labels[train]), batch_sampler=sampler)
for _ in range(20):
    for x, y in loader:
        features, logits = wrapped(x)
        loss = criterion(logits, y, features)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

network.eval()  # the network itself, which torchbake has not changed
right = (network(images[test]).argmax(dim=1) == labels[test]).float().mean()
if not several or dist.get_rank() == 0:
    print(f"top-1 {100 * right:.1f} %")
if several:
    dist.destroy_process_group()
