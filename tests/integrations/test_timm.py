"""BAKE as a task of timm: losses, class groups in timm's loader, evaluation, checkpoints."""

import runpy
from pathlib import Path

import pytest
import timm
import torch
from helpers.own_loop import digits, network, optimizer, plain_losses, sampler
from PIL import Image
from timm.data import Mixup, create_dataset, create_loader
from timm.data.loader import MultiEpochsDataLoader
from timm.optim import create_optimizer_v2
from timm.task import ClassificationTask
from timm.utils import CheckpointSaver

from torchbake import BAKELoss, MultiLabelBAKELoss
from torchbake.data import DataRecipe, open_source
from torchbake.data.augment.normalise import measure_channels
from torchbake.errors import UserError
from torchbake.integrations.timm import BAKETask, group_batches

EXAMPLE = Path(__file__).parents[2] / "examples/timm_task.py"
# timm leaves the files open that it reads.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The training images of the digits as PNG files in class folders, named by their number."""
    folder = tmp_path_factory.mktemp("digits")
    split = open_source(DataRecipe(name="digits")).train
    for index, label in enumerate(split.labels.tolist()):
        place = folder / str(label)
        place.mkdir(exist_ok=True)
        Image.fromarray(split.load(index)[0].numpy()).save(place / f"{index:03}.png")
    return folder


def open_folder(folder, **options):
    """timm's data set and loader of the images as they are."""
    dataset = create_dataset("", root=str(folder), input_img_mode="L")
    split = open_source(DataRecipe(name="digits")).train
    mean, std = measure_channels(torch.stack([split.load(i) for i in range(len(split))]))
    settings = {"is_training": True, "no_aug": True, "use_prefetcher": False, "num_workers": 0}
    settings |= {"mean": tuple(mean), "std": tuple(std), "device": torch.device("cpu")}
    loader = create_loader(dataset, (1, 8, 8), 32, **settings | options)
    return dataset, loader


@pytest.mark.parametrize("prefetching", [False, True])
def test_a_task_in_timms_loader_has_the_losses_of_a_plain_loop(folder, prefetching):
    dataset, loader = open_folder(folder, use_prefetcher=prefetching)
    # The order of the trainer's images, in which the plain loop draws them.
    dataset.reader.samples.sort(key=lambda sample: sample[0][-7:])
    labels = [label for _, label in dataset.reader.samples]
    assert labels == digits()[1].tolist()
    loader = group_batches(loader, sampler(labels))
    assert len(loader) == 9
    task = BAKETask(network())
    step, losses = optimizer(task.get_trainable_module()), []
    for epoch in range(2):
        loader.batch_sampler.set_epoch(epoch)  # as timm's script does
        task.get_trainable_module().train()
        for images, target in loader:
            result = task(images, target)
            step.zero_grad()
            result["loss"].backward()
            step.step()
            losses.append(result["loss"].item())
            total = result["cross_entropy"] + result["distillation"]
            torch.testing.assert_close(result["loss"], total)
            assert result["output"].shape == (32, 10)
    torch.testing.assert_close(losses, plain_losses(network(), 18), rtol=1e-3, atol=0)
    torch.testing.assert_close(losses[:5], plain_losses(network(), 5), rtol=1e-5, atol=0)


def test_evaluation_average_and_checkpoints_are_timms_own(tmp_path):
    images, labels = digits()
    task = BAKETask(timm.create_model("test_resnet", num_classes=10, in_chans=1))
    task.setup_ema(decay=0.5)
    model = task.get_trainable_module()
    step = create_optimizer_v2(model, opt="sgd", lr=0.01, weight_decay=0.1)
    decayed = [len(group["params"]) for group in step.param_groups if group["weight_decay"]]
    bare = timm.create_model("test_resnet", num_classes=10, in_chans=1)
    expected = create_optimizer_v2(bare, opt="sgd", lr=0.01, weight_decay=0.1)
    assert decayed == [len(g["params"]) for g in expected.param_groups if g["weight_decay"]]
    larger = torch.nn.functional.interpolate(images[:16], 64)
    task(larger, labels[:16])["loss"].backward()
    step.step()
    task.update_ema(step=1)
    model.eval()
    for ema in (False, True):
        evaluated = task.get_eval_model(ema=ema)
        evaluator = task.create_evaluator()
        evaluator.update(evaluated(larger), labels[:16])
        assert 0 <= evaluator.compute()["top1"] <= 100
    saver = CheckpointSaver(model, step, checkpoint_dir=str(tmp_path), task=task)
    saver.save_checkpoint(0, metric=1.0)
    for name, module in (("last", model), ("model_best", model)):
        loaded = timm.create_model(
            "test_resnet",
            num_classes=10,
            in_chans=1,
            checkpoint_path=str(tmp_path / f"{name}.pth.tar"),
        ).eval()
        ema = task.get_eval_model(ema=True)
        torch.testing.assert_close(loaded(larger), ema(larger))  # timm loads the average
        assert list(loaded.state_dict()) == list(module.state_dict())
    with pytest.raises(UserError, match=r"call train\(\) on its model first"):
        task(larger, labels[:16])
    assert isinstance(task, ClassificationTask)


def test_soft_labels_of_timms_mixup_and_several_labels():
    images, labels = digits()
    mixed, target = Mixup(mixup_alpha=1.0, num_classes=10)(images[:16], labels[:16])
    assert BAKETask(network(), BAKELoss())(mixed, target)["loss"].isfinite()
    task = BAKETask(network(), MultiLabelBAKELoss())
    several = torch.eye(10)[labels[:16]]
    result = task(images[:16], several)
    assert result["loss"].isfinite()
    evaluator = task.create_evaluator()
    evaluator.update(result["output"], several)
    assert type(evaluator).__name__ == "MultiLabelClassificationEvaluator"


def test_compiled_as_timm_compiles_its_tasks(unchecked):
    images, labels = digits()
    compiled, plain = BAKETask(network()), BAKETask(network())
    compiled.compile(backend="aot_eager")
    given = images[:32], labels[:32]
    torch.testing.assert_close(compiled(*given)["loss"], plain(*given)["loss"])
    compiled.get_eval_model().eval()
    plain.get_eval_model().eval()
    logits = compiled.get_eval_model()(images[:32])
    torch.testing.assert_close(logits, plain.get_eval_model()(images[:32]))
    names = compiled.get_checkpoint_state()["state_dict"]
    assert list(names) == list(network().state_dict())


def test_loaders_that_do_not_shuffle_plainly_are_refused(folder):
    for options in (
        {"is_training": False},
        {"input_size_choices": [8, 16]},
    ):
        dataset, loader = open_folder(folder, **options)
        with pytest.raises(UserError, match="take the place of a plain shuffle") as raised:
            group_batches(loader, sampler([0, 1] * 150))
        assert "\n" not in str(raised.value)
    dataset, loader = open_folder(folder, use_multi_epochs_loader=True)
    grouped = group_batches(loader, sampler([s[1] for s in dataset.reader.samples]))
    assert isinstance(grouped, MultiEpochsDataLoader)
    epochs = [torch.cat([target for _, target in grouped]).tolist() for _ in range(2)]
    assert epochs[0] != epochs[1]
    with pytest.raises(UserError, match=r"must be a BAKELoss or a .* got CrossEntropyLoss"):
        BAKETask(network(), torch.nn.CrossEntropyLoss())


def test_the_example_learns(capsys):
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    assert float(capsys.readouterr().out.split()[-2]) > 40
