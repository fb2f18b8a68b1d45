"""Faults of classes that are seen in labels alone."""

import torch
from helpers.training_runs import recipe

from torchbake.data import Source, Split
from torchbake.data.class_faults import count_images, describe_class_faults, find_class_faults
from torchbake.training.loop import train


def split(*counts):
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    return Split(labels, lambda index: torch.zeros(3, 2, 2, dtype=torch.uint8))


def test_lines_name_the_classes():
    source = Source(split(30, 0, 1, 3), split(1, 2, 0, 0), ["cat", "Dog ", "dog", "nan"])
    assert describe_class_faults(source, 9) == [
        "class 'Dog ': no training image",
        "classes 'dog', 'nan': no test image",
        "class 'dog': fewer than 2 training images, so that none has a partner of its class",
        "'cat' has 30 training images, 'dog' has 1; data.balance evens them out",
        "classes 'Dog ', 'nan': no proper name of a class",
        "classes 'Dog ', 'dog': differ only in case, spaces or signs between words",
    ]
    assert "'cat' has 30" not in " ".join(describe_class_faults(source, 9, balanced=True))
    few = describe_class_faults(source)
    assert len(few) == 4
    assert few[-1] == "and 3 more: torchbake check shows all"


def test_sound_classes_have_no_faults():
    source = Source(split(9, 2, 5), split(1, 1, 1), ["a cat", "a dog", "nano"])
    assert describe_class_faults(source) == []
    assert describe_class_faults(Source(split(10, 1), split(1, 1), ["a", "b"])) != []


def test_many_classes_are_counted_and_few_named():
    counts = {"train": [2] * 9, "test": [0] * 9}
    (fault,) = find_class_faults([f"c{n}" for n in range(9)], counts, "train")
    assert fault.message == "classes 'c0', 'c1', 'c2' and 6 more: no test image"
    assert (fault.kind, fault.split, len(fault.classes)) == ("missing-class", "test", 9)


def test_labels_of_no_class_are_not_counted():
    assert count_images(torch.tensor([0, -1, 2, 2, 7]), 4) == [1, 0, 2, 0]
    assert count_images(torch.zeros(0, dtype=torch.long), 2) == [0, 0]


def test_training_warns(tmp_path, monkeypatch):
    (tmp_path / "rare.py").write_text(
        "import numpy as np\n"
        "from torchbake.data import Source, make_array_split\n"
        "def source(recipe):\n"
        "    def split(labels):\n"
        "        return make_array_split(np.zeros((len(labels), 8, 8), np.uint8), labels, recipe)\n"
        "    return Source(split([0] * 40 + [1]), split([0, 0]), ['often', 'once'])\n"
    )
    monkeypatch.chdir(tmp_path)
    short = (("training.max_steps", "1"), ("training.batch_size", "8"))
    train(recipe(("data.name", "rare:source"), *short), tmp_path / "run")
    lines = (tmp_path / "run" / "train.log").read_text().splitlines()
    warned = [line.partition("warning: ")[2] for line in lines if "warning: " in line]
    assert warned == [
        "class 'once': no test image",
        "class 'once': fewer than 2 training images, so that none has a partner of its class",
        "'often' has 40 training images, 'once' has 1; data.balance evens them out",
    ]
