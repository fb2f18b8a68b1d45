"""BAKE in the Trainer of Hugging Face: losses, resuming, layers, and what it refuses."""

import runpy
from pathlib import Path

import pytest
import torch
from helpers.own_loop import BATCH, MOMENTUM, PARTNERS, RATE, SEED, digits, plain_losses
from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DeiTConfig,
    DeiTForImageClassificationWithTeacher,
    GPT2Config,
    GPT2ForSequenceClassification,
    ResNetConfig,
    ResNetForImageClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
    TrainerCallback,
    TrainingArguments,
    ViTConfig,
    ViTForImageClassification,
)
from transformers.modeling_outputs import ImageClassifierOutput

from torchbake import MultiLabelBAKELoss, with_features
from torchbake.errors import UserError
from torchbake.integrations.transformers import BAKETrainer

EXAMPLES = Path(__file__).parents[2] / "examples"
SMALL = {"num_hidden_layers": 1, "num_attention_heads": 2}
SMALL |= {"hidden_size": 16, "intermediate_size": 32, "num_labels": 10}


def vit(**options):
    torch.manual_seed(0)
    config = ViTConfig(image_size=8, patch_size=4, num_channels=1, **SMALL | options)
    return ViTForImageClassification(config)


def arguments(folder, **options):
    settings = {
        "per_device_train_batch_size": BATCH,
        "num_train_epochs": 2,
        "learning_rate": RATE,
        "optim": "sgd",
        "optim_args": f"momentum={MOMENTUM}",
        "lr_scheduler_type": "constant",
        "max_grad_norm": 0.0,
        "weight_decay": 0.0,
        "seed": SEED,
        "dataloader_drop_last": True,
        "logging_steps": 1,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "use_cpu": True,
    }
    return TrainingArguments(output_dir=str(folder), **settings | options)


def examples():
    images, labels = digits()
    return [
        {"pixel_values": image, "labels": int(label)}
        for image, label in zip(images, labels, strict=True)
    ]


def train(model, folder, resume=None, stop=None, **options):
    trainer = BAKETrainer(
        model,
        arguments(folder, **options),
        train_dataset=examples(),
        labels=digits()[1],
        partners=PARTNERS,
        callbacks=[StopAt(stop)] if stop else [],
    )
    trainer.train(resume_from_checkpoint=resume)
    return trainer, [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


class StopAt(TrainerCallback):
    """Ends a run behind a step, like a crash."""

    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **options):
        if state.global_step == self.step:
            raise KeyboardInterrupt


class Plain(nn.Module):
    """A model that takes images alone, for the plain loop."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        return self.model(pixel_values=images).logits


class Dropping(nn.Module):
    """A network with dropout, of one's own: transformers 5.24 does not find the weights of its own
    ViT in a checkpoint when it resumes."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.2))
        self.fc = nn.Linear(32, 10)

    def forward(self, pixel_values, labels=None):
        return ImageClassifierOutput(logits=self.fc(self.body(pixel_values)))


def test_the_losses_are_those_of_a_plain_loop(tmp_path):
    trainer, losses = train(vit(), tmp_path)
    assert len(losses) == 18
    torch.testing.assert_close(losses, plain_losses(Plain(vit()), 18), rtol=1e-4, atol=1e-4)
    figures = trainer.evaluate(examples()[:32])
    assert figures["eval_loss"] > 0  # the model's own


def test_a_run_resumed_in_mid_epoch_and_at_an_epochs_start_is_the_same(tmp_path):
    whole, expected = train(Dropping(), tmp_path / "whole")
    for step in (13, 9):  # of 9 in an epoch
        folder = tmp_path / str(step)
        saving = {"save_strategy": "steps", "save_steps": step}
        with pytest.raises(KeyboardInterrupt):
            train(Dropping(), folder, stop=step + 1, **saving)
        path = str(folder / f"checkpoint-{step}")
        resumed, losses = train(Dropping(), folder, resume=path, **saving)
        assert losses[step:] == expected[step:]
        for name, value in whole.model.state_dict().items():
            assert torch.equal(resumed.model.state_dict()[name], value)


def test_accumulated_batches_are_means_of_their_losses(tmp_path):
    _, losses = train(
        vit(), tmp_path, gradient_accumulation_steps=3, learning_rate=0.0, num_train_epochs=1
    )
    _, single = train(vit(), tmp_path, learning_rate=0.0, num_train_epochs=1)
    torch.testing.assert_close(losses, torch.tensor(single).view(3, 3).mean(1).tolist())


def test_the_layer_of_each_kind_of_network_is_found():
    text = {"vocab_size": 50, "max_position_embeddings": 40}
    image = {"image_size": 8, "patch_size": 4, "num_channels": 1}
    resnet = {"num_channels": 1, "embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}
    for model, layer in (
        (vit(), "classifier"),
        (BertForSequenceClassification(BertConfig(**SMALL | text)), "classifier"),
        (RobertaForSequenceClassification(RobertaConfig(**SMALL | text)), "classifier.out_proj"),
        (
            ResNetForImageClassification(ResNetConfig(num_labels=10, layer_type="basic", **resnet)),
            "classifier.1",
        ),
    ):
        assert with_features(model).layer == layer
    features, logits = with_features(vit())(pixel_values=digits()[0][:4])
    assert features.shape == (4, 16)
    assert logits.shape == (4, 10)
    two = DeiTForImageClassificationWithTeacher(DeiTConfig(**SMALL | image))
    with pytest.raises(UserError, match="cls_classifier', 'distillation_classifier'"):
        with_features(two)
    config = GPT2Config(vocab_size=50, n_embd=8, n_layer=1, n_head=2, num_labels=3, pad_token_id=0)
    tokens = torch.randint(1, 50, (2, 6))
    with pytest.raises(UserError, match="'score' takes 6 vectors of each input"):
        with_features(GPT2ForSequenceClassification(config))(input_ids=tokens)


def test_what_would_have_no_effect_or_cannot_be_is_refused(tmp_path, monkeypatch):
    given = {"model": vit(), "args": arguments(tmp_path), "train_dataset": examples()}
    with pytest.raises(UserError, match="pass labels=, or partners=0"):
        BAKETrainer(**given).get_train_dataloader()
    assert len(BAKETrainer(**given, partners=0).get_train_dataloader()) == 9
    with pytest.raises(UserError, match="label_smoothing_factor have no effect"):
        BAKETrainer(**given | {"args": arguments(tmp_path, label_smoothing_factor=0.1)})
    model = vit().train()
    with pytest.raises(UserError, match="no 'labels', only 'pixel_values'"):
        BAKETrainer(**given).compute_loss(model, {"pixel_values": digits()[0][:4]})
    with pytest.raises(UserError, match="needs a train_dataset"):
        BAKETrainer(**given | {"train_dataset": None}).get_train_dataloader()
    monkeypatch.setattr(TrainingArguments, "n_gpu", property(lambda self: 2))
    with pytest.raises(UserError, match=r"torch.nn.DataParallel .* torchrun"):
        BAKETrainer(**given)


def test_labels_of_a_data_set_of_hugging_face_and_several_labels(tmp_path):
    import datasets

    images, labels = digits()
    rows = {"pixel_values": images.tolist(), "label": labels.tolist(), "name": ["x"] * 300}
    dataset = datasets.Dataset.from_dict(rows).with_format("torch")
    trainer = BAKETrainer(vit(), arguments(tmp_path), train_dataset=dataset, partners=3)
    batch = next(iter(trainer.get_train_dataloader()))
    assert set(batch) == {"pixel_values", "labels"}
    groups = batch["labels"].view(-1, 4)
    alike = (groups == groups[:, :1]).all(dim=1)
    assert alike.sum() >= 5  # the rest are joined from what classes of 30 leave over
    trainer.criterion = MultiLabelBAKELoss()
    batch["labels"] = torch.eye(10)[batch["labels"]]
    assert trainer.compute_loss(trainer.model.train(), batch).isfinite()


@pytest.mark.parametrize(
    ("name", "least"),
    [("transformers_images", 45), ("transformers_texts", 40), ("accelerate_loop", 80)],
)
def test_the_examples_learn(name, least, capsys):
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    assert float(capsys.readouterr().out.split()[-2]) > least
