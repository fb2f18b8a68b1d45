"""Batches on their way to a CUDA device, told by fake tensors and by stand-ins for its streams."""

import gc
import weakref
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from helpers.fake_cuda import WatchCopies, fake_cuda
from helpers.images import image_folder, loader_of, quiet_progress

from torchbake import ClassGroupedBatchSampler
from torchbake.batch import Batch
from torchbake.data import transfer
from torchbake.data.augment.mixing import mix_batch
from torchbake.data.augment.views import Views
from torchbake.data.loading import ahead, placement, train_loader
from torchbake.data.loading.ahead import Ahead, prefetch
from torchbake.data.loading.open_data import open_data
from torchbake.data.loading.placement import place_pixels, read_free_memory
from torchbake.data.loading.train_loader import TrainLoader
from torchbake.recipe import DataRecipe

CUDA = torch.device("cuda:0")
AUGMENTED = {"flip": True, "cutout": 2, "color_jitter": 0.4, "lighting": 0.1}


@pytest.mark.parametrize("where", ["on the device", "on the host", "streamed"])
def test_a_batch_reaches_the_device_without_a_blocking_copy(tmp_path, monkeypatch, where):
    name = image_folder(tmp_path, (10, 10))
    recipe = DataRecipe(name, crop="pad", workers=0, cache=False, **AUGMENTED)
    data = open_data(replace(recipe, in_memory=where != "streamed", image_size=10), quiet_progress)
    if where == "on the host":
        monkeypatch.setattr(placement, "read_free_memory", lambda device: 0)
    sampler = ClassGroupedBatchSampler(data.source.train.labels, 4)
    views = TrainLoader(data, sampler, torch.device("cpu"), 0)._list_views(0)[0]
    with fake_cuda() as mode:
        loader = TrainLoader(data, sampler, CUDA, 0)
        views = Views(mode.from_tensor(views.indices), mode.from_tensor(views.occurrences), 0, 0)
        pixels = None
        if where == "streamed":
            pixels = torch.empty(4, 3, 10, 10, dtype=torch.uint8, device=CUDA)
        with WatchCopies() as copies:
            (batch,) = loader._make_batches([views], pixels)
    assert {t.device for t in (batch.images, batch.labels, batch.indices)} == {CUDA}
    assert copies.blocking == []
    assert copies.beside == [(2, 4)] + [(4, 3, 10, 10)] * (where == "on the host")
    assert (loader.note is not None) == (where == "on the host")


def test_a_test_batch_is_two_copies_that_nobody_waits_for(tmp_path):
    recipe = DataRecipe(image_folder(tmp_path, (10, 10)), workers=0, cache=False)
    data = open_data(recipe, quiet_progress)
    with fake_cuda():
        batches = data.test_batches(3, CUDA)
        with WatchCopies() as copies:
            for _ in batches:
                pass
    assert copies.blocking == [(2, 3)]  # mean and deviation, once
    assert copies.beside == [(3, 3, 10, 10), (2, 3)] * 2 + [(2, 3, 10, 10), (2, 2)]


@pytest.mark.parametrize("recipe", [DataRecipe(mixup=0.2), DataRecipe(cutmix=1.0)])
def test_a_batch_is_mixed_without_a_blocking_copy(recipe):
    with fake_cuda():
        images = torch.empty(8, 3, 6, 6, device=CUDA)
        labels = torch.zeros(8, dtype=torch.long, device=CUDA)
        other = torch.arange(8)

        with pytest.MonkeyPatch.context() as patch, WatchCopies() as copies:
            patch.setattr("torchbake.data.augment.mixing._other_groups", lambda *given: other)
            patch.setattr(torch, "rand", lambda *given, generator: 0.5)
            patch.setattr(torch, "randint", lambda *given, generator: 0)
            mixed, targets = mix_batch(images, labels, recipe, 4, 1, 0, 0)
    assert mixed.device == targets.device == CUDA
    assert (copies.blocking, copies.beside) == ([], [(8,)])


def test_what_goes_to_a_device_at_work_is_pinned(unchecked, monkeypatch):
    calls = []

    class Rows:
        device = torch.device("cpu")
        pinned = False

        def is_pinned(self):
            return self.pinned

        def pin_memory(self):
            calls.append("pin")
            return self

        def to(self, device, non_blocking):
            calls.append(("to", device, non_blocking))
            return self

    monkeypatch.setattr(transfer, "runs_beside_host", lambda device: device.type == "cuda")
    transfer.copy_to(Rows(), CUDA)
    assert calls == ["pin", ("to", CUDA, True)]
    Rows.pinned = True
    transfer.copy_to(Rows(), CUDA)
    assert calls[2:] == [("to", CUDA, True)]


def test_images_of_the_host_are_gathered_in_pinned_memory(monkeypatch):
    pixels = torch.arange(5 * 3 * 4, dtype=torch.uint8).view(5, 1, 3, 4)
    indices = torch.tensor([4, 0, 0, 3])
    assert torch.equal(transfer.pick_rows(pixels, indices, torch.device("cpu")), pixels[indices])
    pinned = []

    def empty(shape, dtype, pin_memory):
        pinned.append(pin_memory)
        return torch.zeros(shape, dtype=dtype)

    monkeypatch.setattr(transfer, "runs_beside_host", lambda device: True)
    monkeypatch.setattr(torch, "empty", empty)
    assert torch.equal(transfer.pick_rows(pixels, indices, CUDA), pixels[indices])
    assert pinned == [True]


class Streams:
    """Stands in for torch.cuda's streams, and notes what is asked of them."""

    def __init__(self, monkeypatch):
        self.noted, self.open, self.events = [], None, 0
        monkeypatch.setattr(ahead, "runs_beside_host", lambda device: True)
        monkeypatch.setattr(ahead, "find_side_stream", lambda device: self._stream("side"))
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device: self._stream("at work"))
        monkeypatch.setattr(torch.cuda, "stream", self._enter)

    def _stream(self, name):
        def record_event():
            self.events += 1
            return self.events - 1

        return SimpleNamespace(
            name=name,
            wait_stream=lambda other: self.noted.append((name, "waits for", other.name)),
            wait_event=lambda event: self.noted.append((name, "waits for batch", event)),
            record_event=record_event,
        )

    @contextmanager
    def _enter(self, stream):
        self.open = stream.name
        yield
        self.open = None

    def batches(self, count):
        for number in range(count):
            self.noted.append(("made", number, "on", self.open))
            yield Batch(*(self._tensor(number) for _ in range(3)))

    def _tensor(self, number):
        return SimpleNamespace(
            record_stream=lambda stream: self.noted.append(("kept", number, "for", stream.name))
        )


def test_each_batch_is_made_beside_the_step_before_it(unchecked, monkeypatch):
    streams = Streams(monkeypatch)
    for number, _ in enumerate(prefetch(streams.batches(3), CUDA)):
        assert streams.open is None  # the step runs on the stream at work
        streams.noted.append(("step", number))

    def given(number):
        kept = [("kept", number, "for", "at work")] * 3
        return [("at work", "waits for batch", number), *kept, ("step", number)]

    assert streams.noted == [
        ("side", "waits for", "at work"),
        ("made", 0, "on", "side"),
        ("made", 1, "on", "side"),
        *given(0),
        ("made", 2, "on", "side"),
        *given(1),
        *given(2),
    ]


def test_epochs_share_a_stream_and_its_memory(unchecked, monkeypatch):
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: object())
    ahead.find_side_stream.cache_clear()
    first = ahead.find_side_stream(CUDA)
    assert first is ahead.find_side_stream(CUDA)
    assert first is not ahead.find_side_stream(torch.device("cuda:1"))
    ahead.find_side_stream.cache_clear()


def test_no_batch_and_a_failing_one(unchecked, monkeypatch):
    streams = Streams(monkeypatch)
    assert list(prefetch(streams.batches(0), CUDA)) == []

    def failing():
        yield from streams.batches(1)
        raise OSError("a file")

    with pytest.raises(OSError, match="a file"):
        list(prefetch(failing(), CUDA))


def test_on_the_cpu_a_batch_is_made_when_it_is_asked_for():
    made = []
    batches = prefetch((made.append(n) or n for n in range(3)), torch.device("cpu"))
    assert made == []
    next(batches)
    assert made == [0]


def test_an_epoch_drawn_ahead_is_the_one_that_is_asked_for():
    made = []

    def make(epoch):
        made.append(epoch)
        return f"epoch {epoch}"

    epochs = Ahead()
    epochs.begin(make, 1)
    epochs.begin(make, 1)
    assert epochs.take(make, 1) == "epoch 1"
    assert made == [1]
    epochs.begin(make, 2)
    assert epochs.take(make, 5) == "epoch 5"
    assert epochs.take(make, 2) == "epoch 2"


def test_the_next_epochs_order_is_drawn_while_an_epoch_is_at_work(monkeypatch):
    def drawn_by(loader):
        epochs = []
        draw = loader.sampler.numbered_batches
        loader.sampler.numbered_batches = lambda epoch: epochs.append(epoch) or draw(epoch)
        return epochs

    plain, ours = (loader_of(DataRecipe(classes=("0", "1"), flip=True)) for _ in range(2))
    lazily, beforehand = drawn_by(plain), drawn_by(ours)
    monkeypatch.setattr(train_loader, "runs_beside_host", lambda device: True)
    for epoch in range(3):
        with monkeypatch.context() as patch:
            patch.setattr(train_loader, "runs_beside_host", lambda device: False)
            expected = list(plain.batches(epoch))
        for batch, other in zip(expected, ours.batches(epoch), strict=True):
            assert torch.equal(batch.images, other.images)
            assert torch.equal(batch.indices, other.indices)
    ours._views.take(ours._list_views, 3)  # until it is drawn
    assert lazily == [0, 1, 2]
    assert beforehand == [0, 1, 2, 3]


def test_a_dropped_loader_is_gone_at_once():
    """And so are its worker processes."""
    gc.disable()
    try:
        loader = loader_of(DataRecipe(classes=("0", "1")))
        next(loader.batches(0))
        gone = weakref.ref(loader)
        del loader
        assert gone() is None
    finally:
        gc.enable()


def test_images_stay_on_the_host_where_the_device_is_too_full(monkeypatch):
    pixels = torch.zeros(1000, 3, 10, 10, dtype=torch.uint8)
    with fake_cuda():
        for free, device in ((600_000, "cuda"), (599_999, "cpu")):
            monkeypatch.setattr(placement, "read_free_memory", lambda device, free=free: free)
            placed, note = place_pixels(pixels, CUDA)
            assert placed.device.type == device
            assert (note is None) == (device == "cuda")
    monkeypatch.setattr(placement, "read_free_memory", lambda device: 2.5e9)
    _, note = place_pixels(torch.zeros(1, 1, 1, 1, dtype=torch.uint8).expand(2**31, 1, 1, 1), CUDA)
    assert "take 2.1 GB" in note
    assert "50% of what cuda:0 has free, 2.5 GB" in note


def test_images_stay_on_the_host_where_another_process_was_faster(monkeypatch):
    def full(self, device):
        raise torch.OutOfMemoryError("CUDA out of memory")

    pixels = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    monkeypatch.setattr(placement, "read_free_memory", lambda device: 1e9)
    monkeypatch.setattr(torch.Tensor, "to", full)
    placed, note = place_pixels(pixels, CUDA)
    assert placed is pixels
    assert "stay in the host's memory" in note


def test_free_memory_is_the_devices(monkeypatch):
    assert read_free_memory(torch.device("cpu")) == float("inf")
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(
        torch.cuda, "mem_get_info", lambda device: {1: (5, 9)}[torch.device(device).index]
    )
    assert read_free_memory(torch.device("cuda:1")) == 5
