"""BAKE in Lightning: losses, a run killed in mid-epoch and resumed, several processes."""

import os
import runpy
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import lightning
import pytest
import torch
from helpers.own_loop import digits, network, optimizer, plain_losses, sampler
from helpers.processes import run_python

from torchbake import BAKELoss, ResumableDataLoader, with_features
from torchbake.integrations.lightning import BAKECallback

EXAMPLE = Path(__file__).parents[2] / "examples/lightning_module.py"
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:.*is smaller than the logging interval.*"),
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`.*"),
    pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec.*:FutureWarning"),
]


class Module(lightning.LightningModule):
    """The trainer's network on the digits, keeping its losses."""

    def __init__(self):
        super().__init__()
        self.model, self.criterion, self.losses = with_features(network()), BAKELoss(), []

    def train_dataloader(self):
        images, labels = digits()
        dataset = torch.utils.data.TensorDataset(images, labels)
        return ResumableDataLoader(dataset, sampler(labels))

    def training_step(self, batch, batch_idx):
        images, labels = batch
        features, logits = self.model(images)
        loss = self.criterion(logits, labels, features)
        self.losses.append(loss.item())
        return loss

    def configure_optimizers(self):
        return optimizer(self)


def test_the_losses_are_those_of_a_plain_loop():
    module = Module()
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=3,
        callbacks=[BAKECallback()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module)
    assert len(module.losses) == 27
    torch.testing.assert_close(module.losses, plain_losses(network(), 27), rtol=1e-5, atol=0)


def run_example(folder, code):
    """Run code after the example's definitions, in a process of its own."""
    start = f"""
        import os, runpy, signal, lightning, torch
        from lightning.pytorch.callbacks import Callback, ModelCheckpoint
        example = runpy.run_path({str(EXAMPLE)!r})
        Digits, make_trainer = example["Digits"], example["make_trainer"]
        saving = ModelCheckpoint({str(folder)!r}, every_n_train_steps=4, save_top_k=-1)
        options = dict(max_epochs=3)
    """
    script = folder / "script.py"
    script.write_text(textwrap.dedent(start) + textwrap.dedent(code))
    return subprocess.run(
        [sys.executable, str(script)],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_a_run_killed_in_mid_epoch_and_resumed_ends_with_the_same_weights(tmp_path):
    """With dropout, and random noise in the data set; an epoch has ten batches."""
    code = """
        class Killing(Callback):
            def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
                if trainer.global_step == 14:
                    os.kill(os.getpid(), signal.SIGKILL)

        lightning.seed_everything(0, verbose=False)
        trainer = make_trainer(**options)
        trainer.callbacks += [saving, Killing()]
        trainer.fit(Digits())
    """
    killed = run_example(tmp_path, code)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    (saved,) = tmp_path.glob("*step=12.ckpt")
    state = torch.load(saved, weights_only=True)["loops"]["fit_loop"]["state_dict"]
    assert state["combined_loader"] == [{"seed": 0, "epoch": 1, "batch": 2}]

    example = runpy.run_path(str(EXAMPLE))
    for seed, path in ((0, None), (1, saved)):  # other random numbers at the start of the second
        lightning.seed_everything(seed, verbose=False)
        module = example["Digits"]()
        example["make_trainer"](max_epochs=3).fit(module, ckpt_path=path)
        if path is None:
            whole = module.state_dict()
    assert all(torch.equal(whole[name], value) for name, value in module.state_dict().items())


def test_the_example_learns(capsys):
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    assert float(capsys.readouterr().out.split()[-2]) > 80


def test_two_processes_need_lightnings_own_sampler_switched_off(tmp_path):
    run_python(
        f"""
        import runpy, warnings
        import pytest, torch, torch.distributed as dist, lightning
        from torchbake import BAKELoss
        from torchbake.integrations.lightning import BAKECallback

        warnings.simplefilter("ignore")
        example = runpy.run_path({str(EXAMPLE)!r})
        options = dict(accelerator="cpu", devices=2, strategy="ddp", max_epochs=1, logger=False,
                       enable_checkpointing=False, enable_progress_bar=False)
        for callbacks, error in (([BAKECallback()], "^Lightning would replace the batch sampler"),
                                 ([], r"^Lightning replaces this sampler .*_sampler=False\\)")):
            with pytest.raises(ValueError, match=error) as raised:
                lightning.Trainer(callbacks=callbacks, **options).fit(example["Digits"]())
            assert "\\n" not in str(raised.value)
        module = example["Digits"]()
        trainer = lightning.Trainer(callbacks=[BAKECallback()], use_distributed_sampler=False,
                                    **options)
        trainer.fit(module)
        assert module.criterion.group is dist.group.WORLD and trainer.global_step == 5
        """,
        tmp_path,
        ranks=2,
    )
