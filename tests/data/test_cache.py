import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.images import image_folder, parquet_files, picture

from torchbake.data.loading.open_data import open_data
from torchbake.recipe import DataRecipe


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("TORCHBAKE_CACHE", str(folder))
    return folder


def decoded_images(recipe):
    """The images of both splits, and how many were decoded for them."""
    counts = {}
    data = open_data(recipe, lambda split, done, total: counts.update({split: done}))
    return data.pixels, sum(counts.values())


@pytest.mark.parametrize("files", [parquet_files, image_folder])
def test_images_are_decoded_once(tmp_path, cache, files):
    name = files(tmp_path, "PNG") if files is parquet_files else files(tmp_path, (8, 8))
    recipe = DataRecipe(name=name, workers=0)
    (train, test), count = decoded_images(recipe)
    assert count == len(train) + len(test)
    (again, test_again), count = decoded_images(recipe)
    assert count == 0
    assert torch.equal(again, train)
    assert torch.equal(test_again, test)
    (without, _), count = decoded_images(replace(recipe, cache=False))
    assert count == len(train) + len(test)
    assert torch.equal(without, train)
    assert len(list(cache.glob("*.npy"))) == 2


def test_a_run_cannot_change_what_others_read(tmp_path, cache):
    recipe = DataRecipe(name=image_folder(tmp_path, (8, 8)), workers=0)
    (train, _), _ = decoded_images(recipe)
    expected = train.clone()
    train.zero_()
    assert torch.equal(decoded_images(recipe)[0][0], expected)


def test_a_changed_file_is_decoded_anew_and_the_old_pixels_go(tmp_path, cache):
    recipe = DataRecipe(name=image_folder(tmp_path, (8, 8)), workers=0)
    (before, _), _ = decoded_images(recipe)
    changed = tmp_path / "train" / "dog" / "2.png"
    picture(0, (8, 8)).save(changed)
    os.utime(changed, ns=(1, 1))
    (after, _), count = decoded_images(recipe)
    assert count == len(after)
    assert (after != before).flatten(1).any(dim=1).nonzero()[:, 0].tolist() == [6]
    assert len(list(cache.glob("*.npy"))) == 2


def test_parts_of_a_data_set_and_their_channels_have_files_of_their_own(tmp_path, cache):
    whole = DataRecipe(name=parquet_files(tmp_path), workers=0)
    (train, _), _ = decoded_images(whole)
    some = replace(whole, classes=("emu", "cat"))
    for _ in range(2):
        (chosen, _), count = decoded_images(some)
        assert torch.equal(chosen, train[[0, 2, 3, 5, 6, 8]])
    assert count == 0
    grey = replace(whole, channels=1)
    assert decoded_images(grey)[0][0].shape == (9, 1, 8, 8)
    noisy = replace(whole, label_noise=0.5)  # the same images
    assert decoded_images(noisy)[1] == 0


def test_a_damaged_file_is_made_again(tmp_path, cache):
    recipe = DataRecipe(name=image_folder(tmp_path, (8, 8)), workers=0)
    (train, _), _ = decoded_images(recipe)
    expected = train.clone()
    for path in cache.glob("*.npy"):
        path.write_bytes(path.read_bytes()[:200])
    assert torch.equal(decoded_images(recipe)[0][0], expected)


def test_a_folder_that_cannot_be_written_to_is_not_used(tmp_path, cache):
    cache.write_text("a file")
    recipe = DataRecipe(name=image_folder(tmp_path, (8, 8)), workers=0)
    assert decoded_images(recipe)[1] == 16


SCRIPT = """
import sys, time
from torchbake.data.loading.open_data import open_data
from torchbake.recipe import DataRecipe

def slow(split, done, total):
    print("decoded", split, done, flush=True)
    time.sleep(float(sys.argv[2]))

data = open_data(DataRecipe(name=sys.argv[1], workers=0), slow)
print("sum", int(data.pixels[0].long().sum()), flush=True)
"""


def start(name, seconds):
    command = [sys.executable, "-c", SCRIPT, name, str(seconds)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )


def test_processes_at_once_decode_once(tmp_path, cache):
    name = image_folder(tmp_path, (8, 8))
    told = [process.communicate(timeout=120)[0] for process in [start(name, 2), start(name, 2)]]
    assert sum(text.count("decoded training") for text in told) == 1
    assert len({text.splitlines()[-1] for text in told}) == 1


def test_a_process_that_is_killed_while_decoding_leaves_nothing_wrong(tmp_path, cache):
    name = image_folder(tmp_path, (8, 8))
    process = start(name, 60)
    assert process.stdout.readline().startswith("decoded training")
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not list(cache.glob("*.npy"))
    (train, _), count = decoded_images(DataRecipe(name=name, workers=0))
    assert count == 16  # and does not wait: the lock went with its process
    assert np.array_equal(train[0, :, 0, 0], [0, 255, 7])
