"""BAKE in Lightning's Trainer, resumed exactly in mid-epoch.

python examples/lightning_module.py
"""

import lightning
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from torchbake import BAKELoss, ClassGroupedBatchSampler, ResumableDataLoader, with_features
from torchbake.integrations.lightning import BAKECallback

images, labels = map(torch.tensor, load_digits(return_X_y=True))
images = (images / 16).float()
train = TensorDataset(images[:300], labels[:300])
test = TensorDataset(images[300:], labels[300:])


class Digits(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        body = [nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 10)]
        self.model = with_features(nn.Sequential(*body))
        self.criterion = BAKELoss()

    def train_dataloader(self):
        # Here, where the number of ranks is known.
        sampler = ClassGroupedBatchSampler(labels[:300], batch_size=32, partners=3)
        return ResumableDataLoader(train, sampler)

    def training_step(self, batch, batch_idx):
        x, y = batch
        features, logits = self.model(x)
        return self.criterion(logits, y, features)

    def test_step(self, batch, batch_idx):
        x, y = batch
        self.log("top1", 100 * (self.model(x).argmax(dim=1) == y).float().mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


def make_trainer(**options):
    return lightning.Trainer(
        accelerator="cpu",
        devices=1,
        callbacks=[BAKECallback()],
        use_distributed_sampler=False,  # the sampler divides its batches among the ranks itself
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )


if __name__ == "__main__":
    lightning.seed_everything(0)
    trainer = make_trainer(max_epochs=30)
    module = Digits()
    trainer.fit(module)
    (figures,) = trainer.test(module, DataLoader(test, batch_size=500), verbose=False)
    print(f"top-1 {figures['top1']:.1f} %")
