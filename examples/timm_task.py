"""BAKE as a task of timm, in the steps of its train.py.

python examples/timm_task.py
"""

import tempfile
from pathlib import Path

import timm
import torch
from PIL import Image
from sklearn.datasets import load_digits
from timm.data import create_dataset, create_loader
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2

from torchbake import ClassGroupedBatchSampler
from torchbake.integrations.timm import BAKETask, group_batches

torch.manual_seed(0)
root = Path(tempfile.mkdtemp())
digits = load_digits()
for number, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
    folder = root / ("train" if number < 300 else "val") / str(label)
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray((pixels * 15).astype("uint8")).save(folder / f"{number}.png")

model = timm.create_model("test_resnet", num_classes=10, in_chans=1)
settings = dict(input_size=(1, 32, 32), batch_size=30, mean=(0.3,), std=(0.4,), num_workers=0)
settings |= dict(use_prefetcher=False, device=torch.device("cpu"))
dataset_train = create_dataset("", root=root, split="train", input_img_mode="L")
dataset_eval = create_dataset("", root=root, split="val", input_img_mode="L")
loader_eval = create_loader(dataset_eval, **settings)
loader_train = create_loader(
    dataset_train, is_training=True, scale=(0.8, 1), hflip=0, color_jitter=0, **settings
)

# What changes: the sampler, and the task.
labels = [label for _, label in dataset_train.reader.samples]
sampler = ClassGroupedBatchSampler(labels, batch_size=30, partners=2, drop_last=True)
loader_train = group_batches(loader_train, sampler)
task = BAKETask(model)

optimizer = create_optimizer_v2(task.get_trainable_module(), opt="adamw", lr=2e-3)
scheduler, epochs = create_scheduler_v2(optimizer, num_epochs=8, warmup_epochs=0)
for epoch in range(epochs):
    loader_train.batch_sampler.set_epoch(epoch)
    task.get_trainable_module().train()
    for images, target in loader_train:
        loss = task(images, target)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    scheduler.step(epoch + 1)

evaluator = task.create_evaluator()
eval_model = task.get_eval_model().eval()
with torch.no_grad():
    for images, target in loader_eval:
        evaluator.update(eval_model(images), target)
print(f"top-1 {evaluator.compute()['top1']:.1f} %")
