"""A folder of pictures with one fault of every kind, and what each is found as."""

import io

import numpy as np
from helpers.images import encoded, scenery
from PIL import Image, ImageEnhance

SIZE = (96, 80)


def shape(number):
    """A picture that looks like no other one: coarse coloured noise."""
    coarse = np.random.default_rng(number).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(SIZE, Image.Resampling.BICUBIC)


def sound_folder(root, classes=("cat", "dog", "emu"), splits=("train", "val"), each=6):
    """Nothing is wrong with it."""
    number = 0
    for split in splits:
        for name in classes:
            folder = root / split / name
            folder.mkdir(parents=True, exist_ok=True)
            for index in range(each):
                number += 1
                shape(number).save(folder / f"{index}.jpg", quality=92)
    return root


def faulty_folder(root):
    """Plants faults in a sound folder.

    Returns:
        The names of what is to be found, by kind; of copies, a set for each group.
    """
    sound_folder(root)
    planted = {}

    def plant(kind, name, content):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        planted.setdefault(kind, []).append(name)

    jpeg, other = encoded(shape(900), quality=92), encoded(shape(901), quality=92)
    plant("unreadable", "train/cat/words.jpg", b"These are words, and no picture.")
    plant("unreadable", "train/cat/nothing.png", b"")
    plant("damaged", "train/cat/cut.jpg", jpeg[: len(jpeg) // 2])
    plant("damaged", "val/dog/cut.png", encoded(shape(902), "PNG")[:-3000])
    sixteen = np.random.default_rng(0).integers(0, 65536, (60, 60), dtype=np.uint16)
    plant("too-deep", "train/dog/xray.png", encoded(Image.fromarray(sixteen), "PNG"))
    plant("unread-image", "train/dog/phone.heic", b"whatever")
    plant("unread-image", "train/dog/paint.gif", encoded(shape(903), "GIF"))
    plant("unread-image", "train/dog/nosuffix", encoded(shape(904), "PNG"))
    plant("stray-image", "train/stray.jpg", encoded(shape(905)))
    plant("stray-image", "beside.jpg", encoded(shape(906)))
    plant("hidden-image", "val/emu/._0.jpg", b"\0\5\26\7")
    plant("hidden-image", "train/emu/.old/0.jpg", encoded(shape(961)))
    plant("hidden-file", "val/emu/.DS_Store", b"\0\0\0\1Bud1")
    (root / "train" / ".ipynb_checkpoints").mkdir()
    planted["hidden-folder"] = ["train/.ipynb_checkpoints"]
    (root / "train" / "empty").mkdir()
    planted["empty-class"] = ["train/empty"]
    plant("few-images", "train/once/0.jpg", encoded(shape(907)))
    planted["few-images"] = ["once"]
    planted["missing-class"] = ["empty", "once"]  # in val
    for index in range(3):
        for split in ("train", "val"):
            for number, name in enumerate(("Emu", "nan")):
                plant(
                    "",
                    f"{split}/{name}/{index}.png",
                    encoded(shape(920 + index + 10 * number + 5 * (split == "val")), "PNG"),
                )
    planted["similar-classes"] = ["Emu", "emu"]
    planted["odd-class-name"] = ["nan"]
    for name in ("train/cat/a.jpg", "train/dog/a.jpg"):
        plant("duplicate-labels", name, jpeg)
    for name in ("train/cat/b.jpg", "val/cat/b.jpg"):
        plant("duplicate-splits", name, other)
    for name in ("train/emu/c.jpg", "train/emu/d.jpg"):
        plant("duplicate", name, encoded(shape(908)))
    plant("near-labels", "train/dog/near.jpg", encoded(shape(909), quality=95))
    plant("near-labels", "train/emu/near.jpg", encoded(shape(909).resize((48, 40)), quality=80))
    bright = ImageEnhance.Brightness(shape(910)).enhance(1.1)
    plant("near-splits", "train/emu/leak.png", encoded(shape(910), "PNG"))
    plant("near-splits", "val/emu/leak.jpg", encoded(bright))
    plant("near", "train/cat/first.jpg", encoded(shape(911), quality=95))
    plant("near", "train/cat/second.jpg", encoded(shape(911), quality=50))
    plant("single-colour", "val/cat/black.jpg", encoded(Image.new("RGB", SIZE)))
    plant("single-colour", "val/cat/red.png", encoded(Image.new("RGB", SIZE, (200, 10, 10)), "PNG"))
    plant("tiny", "train/cat/tiny.jpg", encoded(shape(912).resize((24, 20))))
    plant("elongated", "train/cat/wide.jpg", encoded(shape(913).resize((600, 70))))
    frames = [shape(914), shape(915)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "WEBP", save_all=True, append_images=frames[1:])
    plant("animated", "train/cat/moves.webp", buffer.getvalue())
    exif = Image.Exif()
    exif[0x0112] = 6
    plant("rotated", "train/dog/turned.jpg", encoded(shape(916), exif=exif))
    plant("grey", "train/dog/grey.jpg", encoded(shape(917).convert("L")))
    clear = shape(918)
    clear.putalpha(128)
    plant("alpha", "train/dog/clear.png", encoded(clear, "PNG"))
    plant("cmyk", "train/dog/print.jpg", encoded(shape(919).convert("CMYK")))
    plant("wrong-suffix", "train/emu/lies.jpg", encoded(shape(940), "PNG"))
    plant("deep", "train/emu/deep.png", deep_png())
    plant("other-file", "train/emu/notes.txt", b"taken on Monday")
    plant("other-file", "val/labels.csv", b"a,b")
    plant("unread-folder", "extra/emu/0.jpg", encoded(shape(941)))
    planted["unread-folder"] = ["extra"]
    plant("same-name", "train/emu/A.PNG", encoded(shape(942), "PNG"))
    plant("", "train/emu/a.png", encoded(shape(943), "PNG"))
    planted["same-name"] = ["train/emu/a.png"]
    for index in range(6):
        plant("", f"train/emu/more{index}.jpg", encoded(shape(950 + index)))
    planted["imbalance"] = ["emu", "once"]
    del planted[""]
    return planted


def deep_png():
    """16 bits a channel in colour, which Pillow writes of no image."""
    import struct
    import zlib

    values = np.asarray(scenery(60, 50, 3), dtype=np.uint16) * 257
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)

    def chunk(name, content):
        checked = name + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", 60, 50, 16, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts
