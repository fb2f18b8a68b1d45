"""Small data sets of real JPEG files, in the layouts in which publishers give the large ones."""

import io
import shutil
import tarfile
import zipfile

import numpy as np
from PIL import Image
from scipy.io import savemat


def write_stand_in(name, folder, *, classes=3, images=(4, 2), size=32, archives=True):
    """Write a stand-in for the data set `name` as its publisher would give it.

    Args:
        images: of a class, for training and for testing.
        size: height and width in pixels.
        archives: pack it as the publisher does; else leave it as it is when unpacked.

    Returns:
        What `torchbake prepare` is to make of it: contents by SPLIT/CLASS/NAME.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return _WRITERS[name](folder, _Drawer(size), classes, images, archives)


class _Drawer:
    def __init__(self, size):
        self.size = size

    def __call__(self, label, number):
        """A JPEG file's content: noise about the colour of its class."""
        colour = np.random.default_rng(label).integers(40, 216, 3)
        noise = np.random.default_rng([label, number]).normal(0, 25, (self.size, self.size, 3))
        buffer = io.BytesIO()
        pixels = (colour + noise).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(buffer, "JPEG", quality=85)
        return buffer.getvalue()


def _put(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def _packed(folder, archive, members):
    """Move files and folders below `folder` into an archive."""
    path = folder / archive
    if archive.endswith(".zip"):
        with zipfile.ZipFile(path, "w") as packed:
            for member in members:
                for file in sorted((folder / member).rglob("*")):
                    packed.write(file, file.relative_to(folder))
    else:
        with tarfile.open(path, "w:gz" if archive.endswith("gz") else "w") as packed:
            for member in members:
                packed.add(folder / member, member)
    for member in members:
        if (folder / member).is_dir():
            shutil.rmtree(folder / member)
        else:
            (folder / member).unlink()


def _lines(lines):
    return "".join(f"{line}\n" for line in lines)


def _tiny_imagenet(folder, draw, classes, images, archives):
    root, made, files, annotations = "tiny-imagenet-200", {}, {}, []
    wnids = [f"n{1443537 + 7 * label:08}" for label in range(classes)]
    for label, wnid in enumerate(wnids):
        boxes = []
        for number in range(images[0]):
            file = f"{wnid}_{number}.JPEG"
            made[f"train/{wnid}/{file}"] = files[f"train/{wnid}/images/{file}"] = draw(
                label, number
            )
            boxes.append(f"{file}\t0\t0\t9\t9")
        files[f"train/{wnid}/{wnid}_boxes.txt"] = _lines(boxes)
        for number in range(images[1]):
            file = f"val_{number * classes + label}.JPEG"
            made[f"test/{wnid}/{file}"] = files[f"val/images/{file}"] = draw(label, 10**6 + number)
            annotations.append(f"{file}\t{wnid}\t0\t32\t44\t62")
    files["val/val_annotations.txt"] = _lines(annotations)
    files["wnids.txt"] = _lines(wnids)
    files["words.txt"] = _lines(f"{wnid}\ta word, another" for wnid in wnids)
    files["test/images/test_0.JPEG"] = draw(0, 0)
    _put(folder / root, files)
    if archives:
        _packed(folder, f"{root}.zip", [root])
    return made


def _cub200(folder, draw, classes, images, archives):
    root, made, files = "CUB_200_2011", {}, {}
    tables = {name: [] for name in ("images", "image_class_labels", "train_test_split")}
    names = [f"{label + 1:03}.Bird_{label}" for label in range(classes)]
    count = 0
    for label, folder_name in enumerate(names):
        for number in range(sum(images)):
            count += 1
            is_train = number % sum(images) < images[0]
            file = f"{folder_name}/Bird_{label}_{number:04}_{count}.jpg"
            content = files[f"images/{file}"] = draw(label, number)
            made[f"{'train' if is_train else 'test'}/{file}"] = content
            tables["images"].append(f"{count} {file}")
            tables["image_class_labels"].append(f"{count} {label + 1}")
            tables["train_test_split"].append(f"{count} {int(is_train)}")
    tables["classes"] = [f"{label + 1} {name}" for label, name in enumerate(names)]
    files |= {f"{name}.txt": _lines(lines) for name, lines in tables.items()}
    files["attributes/certainties.txt"] = "1 not visible\n"
    _put(folder / root, files)
    _put(folder, {"attributes.txt": "1 has_bill_shape::curved_(up_or_down)\n"})
    if archives:
        _packed(folder, f"{root}.tgz", ["attributes.txt", root])
    return made


def _dogs(folder, draw, classes, images, archives):
    made, files, lists = {}, {}, {"train": ([], []), "test": ([], [])}
    for label in range(classes):
        breed = f"n{2085620 + 162 * label:08}-Breed_{label}"
        for number in range(sum(images)):
            split = "train" if number < images[0] else "test"
            file = f"{breed}/{breed[:9]}_{number}.jpg"
            made[f"{split}/{file}"] = files[file] = draw(label, number)
            lists[split][0].append(file)
            lists[split][1].append(label + 1)
    _put(folder / "Images", files)
    lists["file"] = tuple(map(sum, zip(lists["train"], lists["test"], strict=True), ([], [])))
    for name, (paths, labels) in lists.items():
        # A column of cells, each a text.
        cells = np.array(paths, dtype=object)[:, None]
        content = {"file_list": cells, "annotation_list": cells, "labels": np.array([labels]).T}
        savemat(folder / f"{name}_list.mat", content, do_compression=True)
    if archives:
        _packed(folder, "images.tar", ["Images"])
        _packed(folder, "lists.tar", [f"{name}_list.mat" for name in ("file", "test", "train")])
    return made


def _mit67(folder, draw, classes, images, archives):
    made, files, lists = {}, {}, {"train": [], "test": []}
    for label in range(classes):
        for number in range(sum(images)):
            split = "train" if number < images[0] else "test"
            listed = f"room_{label}/Some room_{number}.jpg"
            # The first of a class is called otherwise than the list says.
            file = listed if number else f"room_{label}/someRoom_0.JPG"
            made[f"{split}/{listed}"] = files[file] = draw(label, number)
            lists[split].append(listed)
        files[f"room_{label}/in_no_list.jpg"] = draw(label, 10**6)
    _put(folder / "Images", files)
    _put(folder / "Annotations", {"room_0/1.xml": "<annotation/>"})
    for split, paths in lists.items():
        # The publisher's lists end without a newline.
        _put(folder, {f"{split.capitalize()}Images.txt": "\n".join(paths)})
    if archives:
        _packed(folder, "indoorCVPR_09.tar", ["Images", "Annotations"])
    return made


def _imagenet(folder, draw, classes, images, archives):
    made, train, val, truth = {}, {}, {}, []
    wnids = [f"n{1440764 + 13 * label:08}" for label in range(classes)]
    for label, wnid in enumerate(wnids):
        for number in range(images[0]):
            file = f"{wnid}/{wnid}_{number * 31}.JPEG"
            made[f"train/{file}"] = train[file] = draw(label, number)
    for number in range(classes * images[1]):
        label, file = (number * 7 + 1) % classes, f"ILSVRC2012_val_{number + 1:08}.JPEG"
        made[f"val/{wnids[label]}/{file}"] = val[file] = draw(label, 10**6 + number)
        # Classes' numbers are not in the order of their names.
        truth.append(classes - label)
    synsets = np.zeros(
        (classes + 1, 1),
        dtype=[(n, object) for n in ("ILSVRC2012_ID", "WNID", "words", "gloss", "num_children")],
    )
    for row in range(classes):
        synsets[row, 0] = (row + 1, wnids[classes - 1 - row], "a word", "a thing", 0)
    synsets[classes, 0] = (classes + 1, "n00001740", "entity", "what there is", classes)
    _put(folder / "ILSVRC2012_img_train", train)
    _put(folder / "ILSVRC2012_img_val", val)
    devkit = folder / "ILSVRC2012_devkit_t12"
    _put(devkit / "data", {"ILSVRC2012_validation_ground_truth.txt": _lines(truth)})
    savemat(devkit / "data" / "meta.mat", {"synsets": synsets})
    if archives:
        _packed(folder, f"{devkit.name}.tar.gz", [devkit.name])
        inside = folder / "ILSVRC2012_img_val"
        _packed(inside, "../ILSVRC2012_img_val.tar", sorted(path.name for path in inside.iterdir()))
        inside.rmdir()
        inside = folder / "ILSVRC2012_img_train"
        for wnid in wnids:
            images_of_it = inside / wnid
            files = sorted(path.name for path in images_of_it.iterdir())
            _packed(images_of_it, f"../{wnid}.tar", files)
            images_of_it.rmdir()
        _packed(inside, "../ILSVRC2012_img_train.tar", [f"{wnid}.tar" for wnid in wnids])
        inside.rmdir()
    return made


_WRITERS = {
    "tiny-imagenet": _tiny_imagenet,
    "cub200": _cub200,
    "dogs": _dogs,
    "mit67": _mit67,
    "imagenet": _imagenet,
}
