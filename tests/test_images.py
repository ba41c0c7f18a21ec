"""Image files: the right pixels travel and nothing else, and damage is found by decoding."""

from __future__ import annotations

import io
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pydicom.data
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

from harness import images
from harness.identity import sha256
from harness.records import HarnessError, Media, Part, Sample

SECRET = b"Zaphod-Secret"
RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 256, (8, 12, 3), dtype=np.uint8)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def tiff(array: np.ndarray[Any, Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **options)
    return buffer.getvalue()


def dicom(array: np.ndarray[Any, Any], **fields: Any) -> bytes:
    """A minimal DICOM file of unsigned grey or RGB pixels, with a patient's name in it."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["test"])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = Dataset()
    dataset.file_meta = meta
    dataset.PatientName = SECRET.decode()
    colour = array.ndim == 3 and array.shape[-1] == 3
    dataset.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    dataset.SamplesPerPixel = 3 if colour else 1
    if colour:
        dataset.PlanarConfiguration = 0
    elif array.ndim == 3:
        dataset.NumberOfFrames = array.shape[0]
    dataset.Rows, dataset.Columns = array.shape[:2] if colour else array.shape[-2:]
    bits = 8 * array.dtype.itemsize
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelRepresentation = 0
    dataset.PixelData = array.tobytes()
    for name, value in fields.items():
        setattr(dataset, name, value)
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def grey(data: bytes) -> list[np.ndarray[Any, Any]]:
    return [np.asarray(Image.open(io.BytesIO(m.read()))) for m in images.media_of(data, "x")]


# --- PNG and JPEG -------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["1", "L", "LA", "P", "RGB", "RGBA"]),
    st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_png_pixels_come_back_exactly(mode: str, width: int, height: int, seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 4), dtype=np.uint8)
    image = Image.fromarray(values).convert(mode)
    data = saved(image, "PNG")
    (media,) = images.media_of(data, "x", "/somewhere/x.png")
    assert media == Media(sha256(data), "image/png")
    (decoded,) = images.decode(data, "x")
    assert decoded.convert("RGBA").tobytes() == image.convert("RGBA").tobytes()
    again = Image.open(io.BytesIO(images.to_png(decoded)))
    assert again.convert("RGBA").tobytes() == image.convert("RGBA").tobytes()


def test_a_jpeg_without_metadata_is_left_as_it_is() -> None:
    data = saved(Image.fromarray(COLOURS), "JPEG")
    assert images.media_of(data, "x")[0].read() == data


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_loses_its_metadata_and_keeps_its_pixels(progressive: bool) -> None:
    image = Image.fromarray(COLOURS)
    exif = Image.Exif()
    exif[0x010E] = SECRET.decode()
    data = saved(image, "JPEG", exif=exif, comment=SECRET, progressive=progressive) + SECRET
    assert data.count(SECRET) == 3
    (media,) = images.media_of(data, "x", "/somewhere/x.jpg")
    assert (media.mime, media.path) == ("image/jpeg", None)
    assert SECRET not in media.read()
    assert media.sha256 == sha256(media.read())
    kept = Image.open(io.BytesIO(media.read()))
    assert kept.tobytes() == Image.open(io.BytesIO(data)).tobytes()


def test_a_png_loses_its_metadata_and_keeps_its_pixels() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Author", SECRET.decode())
    info.add_itxt("Comment", SECRET.decode())
    exif = Image.Exif()
    exif[0x010E] = SECRET.decode()
    data = saved(Image.fromarray(COLOURS), "PNG", pnginfo=info, exif=exif) + SECRET
    (media,) = images.media_of(data, "x")
    assert SECRET not in media.read()
    np.testing.assert_array_equal(images.load_array(media), COLOURS)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_and_not_left_behind(kind: str, orientation: int) -> None:
    # Four flat quarters survive JPEG; NumPy turns them as the EXIF standard defines the values.
    quarters = np.kron([[10, 80], [150, 220]], np.ones((16, 24))).astype(np.uint8)
    upright = {
        1: quarters, 2: quarters[:, ::-1], 3: quarters[::-1, ::-1], 4: quarters[::-1],
        5: quarters.T, 6: np.rot90(quarters, -1), 7: np.rot90(quarters, 2).T,
        8: np.rot90(quarters),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(Image.fromarray(quarters), kind, exif=exif)
    (media,) = images.media_of(data, "x")
    shown = Image.open(io.BytesIO(media.read()))
    assert shown.getexif().get(0x0112, 1) == 1
    found = images.load_array(media)[:, :, 0].astype(int)
    assert found.shape == upright.shape
    assert np.abs(found - upright).max() <= 3


def test_a_deep_tiff_is_turned_upright_too() -> None:
    values = np.arange(6, dtype=np.uint16).reshape(2, 3) * 1000
    (found,) = grey(tiff(values, extratags=[(274, 3, 1, 6, True)]))
    np.testing.assert_array_equal(found, np.rot90(np.arange(6).reshape(2, 3) * 51, -1))


def test_a_cmyk_jpeg_becomes_an_rgb_png() -> None:
    data = saved(Image.new("CMYK", (4, 4), (0, 255, 255, 0)), "JPEG")
    (media,) = images.media_of(data, "x")
    assert media.mime == "image/png"
    red, green, blue = images.load_array(media)[0, 0]
    assert red > 200
    assert max(green, blue) < 60


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["PNG", "JPEG"]), st.floats(0, 1, exclude_max=True))
def test_a_file_cut_anywhere_is_found_to_be_corrupt(kind: str, share: float) -> None:
    data = saved(Image.fromarray(COLOURS), kind)
    cut = data[: int(len(data) * share)]
    with pytest.raises(HarnessError, match=r"corrupt|is no PNG") as caught:
        images.media_of(cut, "folder/scan.x")
    assert "folder/scan.x" in str(caught.value)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_flipped_bit_anywhere_in_a_png_is_found(seed: int) -> None:
    data = bytearray(saved(Image.fromarray(COLOURS), "PNG"))
    place = random.Random(seed).randrange(8 * len(data))
    data[place // 8] ^= 1 << place % 8
    with pytest.raises(HarnessError, match=r"corrupt|is no PNG"):
        images.media_of(bytes(data), "x")


def test_what_is_no_image_is_one_sentence() -> None:
    for data in (b"", b"<svg/>", b"GIF89a"):
        with pytest.raises(HarnessError, match="x is no PNG, JPEG, TIFF or DICOM image"):
            images.media_of(data, "x")


def test_an_image_too_large_to_decode_safely_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(Image.fromarray(COLOURS), "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)
    with pytest.raises(HarnessError, match="too large"):
        images.media_of(data, "x")


# --- 16 bits and TIFF ---------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([np.uint16, np.int16, np.uint32, np.float32]))
def test_deep_pixels_are_mapped_linearly_from_their_own_range(seed: int, kind: Any) -> None:
    values = np.random.default_rng(seed).integers(0, 30000, (5, 7)).astype(kind)
    values[0, 0], values[0, 1] = 0, 30000
    (found,) = grey(tiff(values))
    np.testing.assert_array_equal(found, np.rint(values.astype(float) * 255 / 30000))


def test_a_deep_png_and_a_deep_tiff_of_the_same_values_are_the_same_picture() -> None:
    values = RNG.integers(0, 4096, (6, 5)).astype(np.uint16)
    png = saved(Image.fromarray(values), "PNG")
    assert images.media_of(png, "x") == images.media_of(tiff(values), "x")


def test_the_pages_of_a_deep_tiff_share_one_range() -> None:
    stack = np.stack([np.full((4, 4), value, np.uint16) for value in (0, 500, 1000)])
    assert [int(page[0, 0]) for page in grey(tiff(stack, photometric="minisblack"))] == [
        0,
        128,
        255,
    ]


def test_deep_colours_share_one_range_in_both_layouts() -> None:
    values = COLOURS.astype(np.uint16) * 16
    values[0, 0], values[0, 1] = 0, 255 * 16
    expected = values // 16
    (found,) = grey(tiff(values, photometric="rgb"))
    np.testing.assert_array_equal(found, expected)
    planes = np.moveaxis(values, -1, 0)
    (found,) = grey(tiff(planes, photometric="rgb", planarconfig="separate"))
    np.testing.assert_array_equal(found, expected)


def test_shallow_tiffs_keep_their_values() -> None:
    stack = RNG.integers(0, 256, (3, 4, 5), dtype=np.uint8)
    np.testing.assert_array_equal(grey(tiff(stack, photometric="minisblack")), stack)
    for compression in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits"):
        data = saved(Image.fromarray(COLOURS), "TIFF", compression=compression)
        np.testing.assert_array_equal(grey(data)[0], COLOURS)


def test_a_deep_compressed_tiff_is_read() -> None:
    values = RNG.integers(0, 60000, (6, 5)).astype(np.uint16)
    plain = images.media_of(tiff(values), "x")
    for compression in ("tiff_lzw", "tiff_adobe_deflate"):
        data = saved(Image.fromarray(values), "TIFF", compression=compression)
        assert images.media_of(data, "x") == plain


def test_white_is_zero_is_inverted_at_every_depth() -> None:
    ramp = np.array([[0, 255]], np.uint8)
    np.testing.assert_array_equal(grey(tiff(ramp, photometric="miniswhite"))[0], 255 - ramp)
    deep = ramp.astype(np.uint16) * 257
    np.testing.assert_array_equal(grey(tiff(deep, photometric="miniswhite"))[0], 255 - ramp)


def test_a_preview_beside_the_full_page_is_left_out() -> None:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(np.full((8, 8), 7, np.uint8))
        writer.write(np.full((4, 4), 9, np.uint8), subfiletype=1)
    assert [page.shape for page in grey(buffer.getvalue())] == [(8, 8)]


def test_values_that_are_no_numbers_are_black_and_a_flat_page_is_even() -> None:
    values = np.array([[0.0, 1.0, np.nan, np.inf]], np.float32)
    np.testing.assert_array_equal(grey(tiff(values))[0], [[0, 255, 0, 255]])
    np.testing.assert_array_equal(grey(tiff(np.full((2, 2), 700, np.uint16)))[0], np.zeros((2, 2)))
    with pytest.raises(HarnessError, match="no finite value"):
        images.media_of(tiff(np.full((2, 2), np.nan, np.float32)), "x")


def test_a_tiff_cut_short_is_found_to_be_corrupt() -> None:
    data = saved(Image.fromarray(COLOURS), "TIFF")
    for cut in (data[:40], data[:-150]):
        with pytest.raises(HarnessError, match="image x is corrupt"):
            images.media_of(cut, "x")


def test_the_same_file_gives_the_same_bytes() -> None:
    data = tiff(RNG.integers(0, 60000, (30, 30)).astype(np.uint16))
    first, second = images.media_of(data, "x")[0], images.media_of(data, "elsewhere")[0]
    assert first.read() == second.read()


# --- DICOM --------------------------------------------------------------------------------


def test_dicom_pixels_travel_and_the_patient_does_not() -> None:
    ramp = np.arange(20, 220, dtype=np.uint8).reshape(10, 20)
    data = dicom(ramp)
    assert SECRET in data
    (media,) = images.media_of(data, "x", "/somewhere/x.dcm")
    assert (media.mime, media.path) == ("image/png", None)
    assert SECRET not in media.read()
    np.testing.assert_array_equal(grey(data)[0], ramp)


def test_monochrome1_is_inverted() -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    (found,) = grey(dicom(ramp, PhotometricInterpretation="MONOCHROME1"))
    np.testing.assert_array_equal(found, 255 - ramp)


def test_the_window_of_a_dicom_file_decides_what_is_black_and_white() -> None:
    values = np.array([[0, 900, 1000, 1100, 4000]], np.uint16)
    window = {"WindowCenter": 1000, "WindowWidth": 201, "BitsStored": 12, "HighBit": 11}
    (found,) = grey(dicom(values, **window))
    # PS3.3 C.11.2.1.2.1: ((x - (c - .5)) / (w - 1) + .5) * 255, so 1000 lies at .5025.
    np.testing.assert_array_equal(found, [[0, 1, 128, 255, 255]])


def test_the_window_is_in_units_after_the_modality_lut() -> None:
    hounsfield = np.array([[-1000, -160, 40, 240, 1000]])
    stored = (hounsfield + 1024).astype(np.uint16)
    fields = {
        "RescaleSlope": 1, "RescaleIntercept": -1024, "WindowCenter": 40.5, "WindowWidth": 401,
    }  # fmt: skip
    (found,) = grey(dicom(stored, **fields))
    np.testing.assert_array_equal(found, [[0, 0, 128, 255, 255]])


def test_without_a_window_the_range_of_all_frames_counts() -> None:
    frames = np.stack([np.full((2, 2), value, np.uint16) for value in (100, 200, 300)])
    assert [int(frame[0, 0]) for frame in grey(dicom(frames))] == [0, 128, 255]


def test_a_voi_lut_is_applied_over_its_own_range() -> None:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [4, 0, 8])
    item.add_new("LUTData", "US", [250, 100, 50, 0])
    values = np.array([[0, 1, 2, 3]], np.uint16)
    (found,) = grey(dicom(values, VOILUTSequence=Sequence([item])))
    np.testing.assert_array_equal(found, [[250, 100, 50, 0]])


def test_colour_dicom_keeps_its_colours() -> None:
    np.testing.assert_array_equal(grey(dicom(COLOURS))[0], COLOURS)


def test_writing_burned_into_the_pixels_is_refused() -> None:
    with pytest.raises(HarnessError, match="burned into its pixels"):
        images.media_of(dicom(np.zeros((4, 4), np.uint8), BurnedInAnnotation="YES"), "x")


def test_a_dicom_file_cut_short_is_found_to_be_corrupt() -> None:
    data = dicom(np.zeros((40, 40), np.uint8))
    with pytest.raises(HarnessError, match="image x is corrupt"):
        images.media_of(data[:-900], "x")


def test_a_dicom_file_that_begins_like_a_tiff_is_read_as_dicom() -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    data = b"II*\0" + dicom(ramp)[4:]
    assert images.kind_of(data) == "DICOM"
    np.testing.assert_array_equal(grey(data)[0], ramp)


def test_a_dicom_file_without_pixels_is_one_sentence() -> None:
    dataset = pydicom.dcmread(io.BytesIO(dicom(np.zeros((4, 4), np.uint8))))
    del dataset.PixelData
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset)
    with pytest.raises(HarnessError, match="image x: it is a DICOM file without pixels"):
        images.media_of(buffer.getvalue(), "x")


def test_real_dicom_files_look_as_pydicom_and_their_own_window_say() -> None:
    # A file that comes with pydicom: 16-bit CT, signed after its rescale, without a window.
    path = pydicom.data.get_testdata_file("CT_small.dcm")
    dataset = pydicom.dcmread(path)
    values = dataset.pixel_array.astype(float) * dataset.RescaleSlope + dataset.RescaleIntercept
    expected = np.rint((values - values.min()) * 255 / (values.max() - values.min()))
    np.testing.assert_array_equal(grey(Path(path).read_bytes())[0], expected)


def test_without_pydicom_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    data = dicom(np.zeros((4, 4), np.uint8))
    for name in [name for name in sys.modules if name.split(".")[0] == "pydicom"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(HarnessError, match=r"install explanation-harness\[dicom\]"):
        images.media_of(data, "x")


# --- for classifiers ----------------------------------------------------------------------


def test_a_classifier_sees_text_pictures_or_both(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(saved(Image.fromarray(COLOURS), "PNG"))
    (media,) = images.media_of(path.read_bytes(), "x", str(path))
    assert images.classifier_input(Sample("s", (Part("words"),))) == "words"
    array = images.classifier_input(Sample("s", (Part(media=media),)))
    assert array.dtype == np.uint8
    np.testing.assert_array_equal(array, COLOURS)
    both = images.classifier_input(Sample("s", (Part("words"), Part(media=media))))
    assert both[0] == "words"
    np.testing.assert_array_equal(both[1], COLOURS)
    sound = Media("0" * 64, "audio/wav", data=b"")
    with pytest.raises(HarnessError, match="sample 's' holds audio/wav"):
        images.classifier_input(Sample("s", (Part(media=sound),)))


def test_grey_and_transparent_pictures_have_three_channels() -> None:
    for mode in ("1", "L", "LA", "P", "RGBA"):
        data = saved(Image.fromarray(COLOURS).convert(mode), "PNG")
        (media,) = images.media_of(data, "x")
        assert images.load_array(media).shape == (8, 12, 3)
