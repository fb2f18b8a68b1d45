"""BAKE in the Trainer of Hugging Face, for images.

python examples/transformers_images.py
"""

import tempfile

import torch
from sklearn.datasets import load_digits
from transformers import TrainingArguments, ViTConfig, ViTForImageClassification

from torchbake.integrations.transformers import BAKETrainer

pixels, labels = load_digits(return_X_y=True)
images = torch.tensor(pixels / 16, dtype=torch.float32).view(-1, 1, 8, 8)
examples = [{"pixel_values": x, "labels": int(y)} for x, y in zip(images, labels, strict=True)]

torch.manual_seed(0)
size = dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128)
config = ViTConfig(image_size=8, patch_size=2, num_channels=1, num_labels=10, **size)
trainer = BAKETrainer(
    ViTForImageClassification(config),
    TrainingArguments(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=32,
        per_device_eval_batch_size=500,
        num_train_epochs=15,
        learning_rate=2e-3,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        use_cpu=True,
    ),
    train_dataset=examples[:300],
    labels=labels[:300],
    partners=3,
    eval_dataset=examples[300:],
    compute_metrics=lambda p: {"top1": 100 * (p.predictions.argmax(1) == p.label_ids).mean()},
)
trainer.train()
print(f"top-1 {trainer.evaluate()['eval_top1']:.1f} %")
