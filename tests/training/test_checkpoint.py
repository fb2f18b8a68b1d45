"""Checkpoints: exact, whole or refused, and only for what they belong to."""

import hashlib
import json
import math
import random
import shutil
from collections import OrderedDict
from dataclasses import replace

import pytest
import torch
from helpers.images import image_folder
from helpers.training_runs import QUIET, recipe, same, weights
from hypothesis import given, settings
from hypothesis import strategies as st

from torchbake.errors import UserError
from torchbake.training.checkpoint import (
    Manifest,
    find_checkpoint,
    list_checkpoints,
    load_checkpoint,
    write_checkpoint,
)
from torchbake.training.loop import train
from torchbake.training.nested import flatten_state, unflatten_state
from torchbake.training.recipe_files import load_recipe

SHORT = (("training.epochs", "2"), ("training.checkpoint_every", "3"))


def there_and_back(state):
    tensors, tree = flatten_state(state)
    return unflatten_state(tensors, json.loads(json.dumps(tree, allow_nan=False)))


KEYS = st.one_of(st.text(), st.integers(), st.booleans(), st.none(), st.tuples(st.integers()))
PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=5)
)
NESTED = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(KEYS, inner, max_size=3),
    ),
    max_leaves=20,
)


def alike(one, other):
    """Equal, of the same types, and with the same signs of zeros."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(map(repr, one)) == list(map(repr, other)) and all(
            alike(a, b) for a, b in zip(one.values(), other.values(), strict=True)
        )
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    return repr(one) == repr(other)


@given(NESTED)
@settings(deadline=None, max_examples=300)
def test_plain_state_comes_back_as_it_was(state):
    assert alike(there_and_back(state), state)


def read_bytes(tensor):
    return tensor.reshape(-1).view(torch.uint8).numpy().tobytes()


def test_tensors_come_back_with_their_bits_and_their_order():
    images = torch.randn(2, 3, 4, 5)
    flat = torch.arange(12.0)
    state = {
        "channels_last": images.to(memory_format=torch.channels_last),
        "filters": torch.randn(8, 4, 1, 1).to(memory_format=torch.channels_last),
        "transposed": images[0, 0].T,
        "expanded": torch.ones(1, 3).expand(4, 3),
        "parts": [flat[:5], flat[5:], flat],
        "same": (flat, flat),
        0: {"half": torch.randn(3).half(), "bf16": torch.randn(3).bfloat16()},
        1: torch.tensor(3),
        "none": torch.zeros(0, 4),
        "odd": torch.tensor([math.nan, -math.inf, -0.0]),
        "flags": torch.tensor([True, False]),
        "int16": torch.tensor([-1, 7], dtype=torch.int16),
    }
    back = there_and_back(state)
    expected, found = flatten_state(state)[0], flatten_state(back)[0]
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        assert tensor.dtype == found[name].dtype
        assert read_bytes(tensor) == read_bytes(found[name])
    for name in ("channels_last", "transposed"):
        assert back[name].stride() == state[name].stride()
        assert torch.equal(back[name], state[name])
    assert torch.equal(back["expanded"], state["expanded"])
    assert back["same"][0] is back["same"][1]


def test_state_of_modules_and_optimizers_comes_back():
    network = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3))
    back = there_and_back(network.state_dict())
    assert isinstance(back, OrderedDict)
    assert back._metadata == network.state_dict()._metadata
    optimizer = torch.optim.AdamW(network.parameters(), betas=(0.8, 0.99))
    network(torch.randn(4, 3)).sum().backward()
    optimizer.step()
    back = there_and_back(optimizer.state_dict())
    assert back["param_groups"] == optimizer.state_dict()["param_groups"]
    assert list(back["state"]) == [0, 1, 2, 3]
    torch.optim.AdamW(network.parameters()).load_state_dict(back)


def test_what_cannot_be_held_is_named():
    with pytest.raises(UserError, match=r"cannot hold method\.past: .* got set"):
        flatten_state({"method": {"past": {1, 2}}})
    for tree in ({"tensor": "x"}, {"evil": 1}, {"dict": [1]}, {"float": "1"}, {"tuple": 1}):
        with pytest.raises(ValueError, match=r"unknown part|no tensor"):
            unflatten_state({}, tree)
    with pytest.raises(ValueError, match="no such shape"):
        unflatten_state({"x": torch.zeros(2)}, {"tensor": "x", "shape": [9], "strides": [1]})


def write(folder, step, value=0.0, **more):
    manifest = Manifest(step=step, finished=False, files={}, belongs_to={}, made_on={})
    state = {"x": torch.full((4,), value), "step": step}
    return write_checkpoint(folder, state, manifest, **{"keep_all": False, **more})


def test_the_last_two_are_kept_and_no_parts(tmp_path):
    (tmp_path / "step-1.tmp").mkdir()
    for step in (2, 4, 10):
        write(tmp_path, step)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step-10", "step-4"]
    assert len(list(tmp_path.iterdir())) == 2
    write(tmp_path, 11, keep_all=True)
    assert len(list_checkpoints(tmp_path)) == 3
    # One that goes on from an earlier step replaces what was damaged.
    write(tmp_path, 10, value=5.0)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step-10", "step-4"]
    assert load_checkpoint(tmp_path / "step-10")["x"][0] == 5


@pytest.mark.parametrize("name", ["tensors.safetensors", "state.json", "manifest.json"])
def test_damage_is_named_and_the_one_before_it_used(tmp_path, name):
    for step in (1, 2):
        write(tmp_path, step, value=step)
    file = tmp_path / "step-2" / name
    whole, source = file.read_bytes(), random.Random(0)
    damages = [whole[:-1], b"", whole + b" ", None]
    for _ in range(40):
        place, bit = source.randrange(len(whole)), source.randrange(8)
        damages.append(whole[:place] + bytes([whole[place] ^ (1 << bit)]) + whole[place + 1 :])
    for content in damages:
        if content is None:
            file.unlink()
        else:
            file.write_bytes(content)
        found = find_checkpoint(tmp_path)
        if name == "manifest.json" and found.folder.name == "step-2":  # blanks between values
            assert json.loads(content) == json.loads(whole)
            continue
        assert found.folder.name == "step-1"
        (line,) = found.damaged
        assert "step-2" in line
        assert "damaged" in line or "cannot be read" in line
        assert "\n" not in line
        with pytest.raises(UserError, match="step-2"):
            load_checkpoint(tmp_path / "step-2")
    shutil.rmtree(tmp_path / "step-1")
    with pytest.raises(UserError, match=r"^no checkpoint is whole: .*step-2.*--overwrite$"):
        find_checkpoint(tmp_path)


def test_other_versions_and_older_formats_are_refused(tmp_path):
    path = write(tmp_path, 1) / "manifest.json"
    sealed = json.loads(path.read_text())
    sealed["manifest"]["version"] = 2
    text = json.dumps(sealed["manifest"], sort_keys=True)
    path.write_text(json.dumps({**sealed, "sha256": hashlib.sha256(text.encode()).hexdigest()}))
    with pytest.raises(UserError, match="in format 2, which this version cannot read"):
        find_checkpoint(tmp_path)
    shutil.rmtree(tmp_path / "step-1")
    (tmp_path / "last.pt").write_bytes(b"")
    with pytest.raises(UserError, match=r"last\.pt: written by an older version, .*--overwrite$"):
        find_checkpoint(tmp_path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint") / "run"
    train(recipe(*SHORT), folder, console=QUIET)
    return folder


def test_a_run_goes_on_from_the_one_before_a_damaged_one(finished, tmp_path):
    cut = shutil.copytree(finished, tmp_path / "run")
    file = cut / "checkpoints" / "step-8" / "tensors.safetensors"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    train(recipe(*SHORT), cut, resume=True, console=QUIET)
    assert same(weights(finished), weights(cut))
    log = (cut / "train.log").read_text()
    assert "warning: " in log
    assert "step-8/tensors.safetensors: damaged: not what was written (SHA-256)" in log
    assert "going on from step-6" in log
    assert find_checkpoint(cut / "checkpoints").damaged == []


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("seed", "1", "seed was 0, is 1"),
        ("optimizer.lr", "0.2", "optimizer.lr was 0.1, is 0.2"),
        ("optimizer", "adamw", "optimizer.name was 'sgd', is 'adamw'"),
        ("method", "ps-kd", "method.name was 'bake', is 'ps-kd'"),
        ("model", "resnet8", "model.name was 'small_cnn', is 'resnet8'"),
        ("data.images_per_class", "20", "data.images_per_class was None, is 20"),
        ("training.epochs", "3", "training.epochs was 2, is 3"),
    ],
)
def test_the_checkpoint_of_another_recipe_is_refused(finished, tmp_path, key, value, message):
    """As it is found in a folder whose recipe was edited, or that it was copied to."""
    other = tmp_path / "other"
    settings = recipe(*SHORT, (key, value), ("training.max_steps", "1"))
    train(settings, other, console=QUIET)
    shutil.rmtree(other / "checkpoints")
    shutil.copytree(finished / "checkpoints", other / "checkpoints")
    shutil.rmtree(other / "checkpoints" / "step-8")  # of the end, which may have more epochs
    before = weights(other)
    with pytest.raises(UserError, match=f"step-6: cannot go on, since .*{message}"):
        train(settings, other, resume=True, console=QUIET)
    assert same(before, weights(other))


def test_images_that_changed_are_named(tmp_path):
    photos = tmp_path / "photos"
    settings = load_recipe(
        "digits/bake",
        [
            *[("data", image_folder(photos)), ("data.images_per_class", "null")],
            *[("data.image_size", "8"), ("data.channels", "3"), ("data.cache", "false")],
            *[("training.batch_size", "4"), ("training.max_steps", "2"), ("data.workers", "0")],
            *[("method.partners", "1"), ("data.classes", "null"), ("data.label_noise", "0")],
        ],
    )
    train(settings, tmp_path / "run", console=QUIET)

    def refused(message):
        with pytest.raises(UserError, match=message):
            train(settings, tmp_path / "run", resume=True, console=QUIET)

    def rename(old, new):
        for split in ("train", "val"):
            (photos / split / old).rename(photos / split / new)

    first = photos / "train" / "cat" / "0.png"
    added = shutil.copy(first, first.with_name("9.png"))
    refused(r"8 training images were there, 9 are \('cat': 4, now 5\)")
    added.unlink()
    rename("dog", "wolf")
    refused("class 1 was 'dog', is 'wolf'")
    rename("wolf", "dog")
    first.rename(first.with_name("another.png"))
    refused("training images have other names")
    first.with_name("another.png").rename(photos / "train" / "dog" / "z.png")
    refused(r"training images have other labels \('cat': 4, now 3, 'dog': 4, now 5\)")
    (photos / "train" / "dog" / "z.png").rename(first)
    shutil.move(photos, tmp_path / "moved")
    (tmp_path / "photos").symlink_to(tmp_path / "moved")
    train(settings, tmp_path / "run", resume=True, console=QUIET)


def test_a_teacher_whose_weights_changed_is_named(finished, tmp_path):
    teacher = shutil.copytree(finished, tmp_path / "teacher")
    settings = recipe(*SHORT, ("method", "kd"), ("method.teacher", str(teacher)))
    train(settings, tmp_path / "run", console=QUIET)
    train(replace(recipe(*SHORT), seed=1), teacher, overwrite=True, console=QUIET)
    with pytest.raises(UserError, match=r"the weights of the teacher '.*' have changed"):
        train(settings, tmp_path / "run", resume=True, console=QUIET)
