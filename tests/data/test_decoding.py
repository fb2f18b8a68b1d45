"""Decoded images against Pillow's own reading: formats, modes, orientation, damage."""

import warnings
from io import BytesIO

import numpy as np
import pytest
import torch
from helpers.images import encoded, scenery
from PIL import Image, ImageOps

from torchbake.data.sources import decoding
from torchbake.data.sources.decoding import FORMATS, decode, read_size
from torchbake.errors import UserError

ORIENTATION = 0x0112


def by_pillow(content, mode="RGB"):
    """What Pillow makes of a file, as (ch, h, w)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of palettes with transparency
        image = ImageOps.exif_transpose(Image.open(BytesIO(content))).convert(mode)
    pixels = torch.from_numpy(np.array(image))
    return pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1)


def oriented(kind, number, size=(37, 23), mode="RGB"):
    exif = Image.Exif()
    exif[ORIENTATION] = number
    return encoded(scenery(*size).convert(mode), kind, exif=exif)


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_images_are_turned_as_exif_says(monkeypatch, kind, fast):
    if not fast:
        monkeypatch.setattr(decoding, "simplejpeg", None)
    shapes = set()
    for number in range(10):  # 0 and 9 mean nothing
        content = oriented(kind, number)
        for channels, mode in ((3, "RGB"), (1, "L")):
            expected = by_pillow(content, mode)
            found = decode(content, channels, "it")
            assert torch.equal(found, expected), (number, channels)
            shapes.add(tuple(found.shape[1:]))
            assert read_size(content, "it") == tuple(found.shape[1:])
    assert shapes == {(23, 37), (37, 23)}


@pytest.mark.parametrize("number", [1, 3, 6, 7])
@pytest.mark.parametrize("reduction", [2, 4, 8])
def test_smaller_scales_are_turned_alike_by_both_decoders(monkeypatch, number, reduction):
    content = oriented("JPEG", number, (133, 77))
    fast = decode(content, 3, "it", reduction)
    height, width = (-(-side // reduction) for side in read_size(content, "it"))
    assert fast.shape == (3, height, width)
    monkeypatch.setattr(decoding, "simplejpeg", None)
    assert torch.equal(fast, decode(content, 3, "it", reduction))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")  # Pillow's
def test_orientation_is_found_wherever_pillow_finds_it():
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    image = scenery(37, 23)
    assert decode(encoded(image, xmp=xmp), 3, "it").shape == (3, 37, 23)
    # Behind a long profile, in big-endian order, and after bytes that fill.
    exif = Image.Exif()
    exif.endian = ">"
    exif[ORIENTATION] = 8
    content = encoded(image, exif=exif.tobytes(), icc_profile=bytes(200_000))
    content = content[:2] + b"\xff\xff" + content[2:]
    assert torch.equal(decode(content, 3, "it"), by_pillow(content))
    assert decode(content, 3, "it").shape == (3, 37, 23)
    # Damaged metadata do not keep an image from being read.
    for wrong in (b"Exif\0\0II*\0\xff\xff\xff\xff\x12\x01", b"Exif\0\0\x12\x01", b"\x12\x01"):
        assert decode(encoded(image, exif=wrong), 3, "it").shape == (3, 23, 37)


def test_most_files_are_spared_the_reading_of_their_metadata(monkeypatch):
    plain = encoded(scenery(37, 23), comment=b"\x12\x01" * 9)
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    named = encoded(scenery(37, 23), exif=exif)
    monkeypatch.setattr(decoding, "open_image", None)
    assert decode(plain, 3, "it").shape == decode(named, 3, "it").shape == (3, 23, 37)
    with pytest.raises(TypeError):
        decode(oriented("JPEG", 6), 3, "it")


def transparent():
    image = scenery(37, 23).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize((37, 23)))
    return image


def palette_with_transparency(values):
    image = scenery(37, 23).quantize(16)
    image.info["transparency"] = values
    return image


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        (scenery(37, 23).convert("L"), "PNG"),
        (scenery(37, 23).convert("1"), "PNG"),
        (transparent(), "PNG"),
        (transparent(), "WEBP"),
        (transparent().convert("LA"), "PNG"),
        (scenery(37, 23).quantize(16), "PNG"),
        (palette_with_transparency(3), "PNG"),
        (palette_with_transparency(bytes(range(16))), "PNG"),
        (palette_with_transparency(3), "GIF"),
        (scenery(37, 23).convert("CMYK"), "JPEG"),
        (scenery(37, 23).convert("CMYK"), "TIFF"),
        (scenery(37, 23).convert("YCbCr"), "TIFF"),
        (scenery(37, 23), "PPM"),
        (scenery(37, 23), "BMP"),
        (scenery(37, 23), "JPEG2000"),
        (scenery(37, 23), "AVIF"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.mode,
)
@pytest.mark.parametrize("channels", [3, 1])
def test_every_kind_is_read_as_pillow_reads_it(image, kind, channels):
    if kind not in decoding._list_formats():
        pytest.skip(f"this Pillow was built without {kind}")
    # Pillow 12 cannot read the uncompressed files that it writes of this mode.
    options = {"compression": "tiff_lzw"} if image.mode == "YCbCr" else {}
    content = encoded(image, kind, **options)
    expected = by_pillow(content, "RGB" if channels == 3 else "L")
    assert torch.equal(decode(content, channels, "it"), expected)


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        (scenery(9, 9).convert("I").convert("I;16"), "PNG"),
        (scenery(9, 9).convert("I"), "TIFF"),
        (scenery(9, 9).convert("F"), "TIFF"),
    ],
)
@pytest.mark.parametrize("channels", [3, 1])
def test_more_than_8_bits_are_refused(image, kind, channels):
    with pytest.raises(UserError, match=r"^it: has more than 8 bits a channel \(.+\); expected 8$"):
        decode(encoded(image, kind), channels, "it")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM"])
def test_a_damaged_file_is_refused_in_one_line_or_read_as_pillow_reads_it(kind):
    whole = encoded(scenery(37, 23), kind)
    refused = []
    random = np.random.default_rng(0)
    for _ in range(30):
        content = bytearray(whole)
        place = int(random.integers(len(content)))
        if random.random() < 0.5:
            del content[place:]
        else:
            content[place] ^= int(random.integers(1, 256))
        try:
            found = decode(bytes(content), 3, "it")
        except UserError as error:
            refused.append(str(error))
        else:
            assert torch.equal(found, by_pillow(bytes(content)))
    assert refused
    for line in refused:
        assert line.startswith("it: ")
        assert len(line.splitlines()) == 1


def test_postscript_never_reaches_its_interpreter(monkeypatch):
    from PIL import EpsImagePlugin

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", None)  # would be a TypeError
    content = encoded(scenery(9, 9), "EPS")
    with pytest.raises(UserError, match=r"^it: cannot be read as an image: is none of JPEG, PNG"):
        decode(content, 3, "it")
    assert "EPS" not in FORMATS
