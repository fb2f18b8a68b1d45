"""BAKE in a plain loop with Accelerate, on one process or several.

python examples/accelerate_loop.py
accelerate launch --num-processes 2 --cpu examples/accelerate_loop.py
"""

import torch
from accelerate import Accelerator
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import TensorDataset

from torchbake import BAKELoss, ClassGroupedBatchSampler, ResumableDataLoader, with_features

accelerator = Accelerator(cpu=not torch.cuda.is_available())
images, labels = map(torch.tensor, load_digits(return_X_y=True))
images = (images / 16).float()

torch.manual_seed(0)
model = with_features(nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10)))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
model, optimizer = accelerator.prepare(model, optimizer)  # not the loader

# After the Accelerator, which starts the process group.
criterion = BAKELoss(group=torch.distributed.group.WORLD)
sampler = ClassGroupedBatchSampler(labels[:300], batch_size=32, partners=3)
loader = ResumableDataLoader(TensorDataset(images[:300], labels[:300]), sampler)
accelerator.register_for_checkpointing(loader)
for _ in range(30):
    for x, y in loader:
        x, y = x.to(accelerator.device), y.to(accelerator.device)
        features, logits = model(x)
        loss = criterion(logits, y, features)
        optimizer.zero_grad()
        accelerator.backward(loss)
        optimizer.step()

model.eval()
right = (model(images[300:].to(accelerator.device)).argmax(dim=1).cpu() == labels[300:]).float()
accelerator.print(f"top-1 {100 * right.mean():.1f} %")
accelerator.end_training()
