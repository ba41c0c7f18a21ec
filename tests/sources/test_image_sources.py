"""Image sources: labels from folders or a table, one medium a page, corrupt files found at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from harness import plugins
from harness.identity import sha256
from harness.images import load_array
from harness.records import HarnessError
from harness.sources.images import ImageFolder, ImageTable


def picture(path: Path, value: int = 100) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (5, 4), (value, 0, 0)).save(path)


def test_they_are_registered_under_their_names() -> None:
    assert plugins.load("sources", "image_folder") is ImageFolder
    assert plugins.load("sources", "image_table") is ImageTable


def test_a_folder_gives_labels_ids_and_one_order(tmp_path: Path) -> None:
    for name in ("sick/b.png", "sick/deep/a.JPG", "fit/z.png", "loose.png"):
        picture(tmp_path / name)
    for name in ("fit/.hidden.png", ".cache/x.png"):
        picture(tmp_path / name)
    (tmp_path / "fit" / "notes.txt").write_text("no image")
    (tmp_path / "fit" / "LICENSE").write_text("no image either")
    samples = ImageFolder(str(tmp_path)).samples()
    assert [(sample.id, sample.label) for sample in samples] == [
        ("fit/z.png", "fit"),
        ("loose.png", None),
        ("sick/b.png", "sick"),
        ("sick/deep/a.JPG", "sick"),
    ]


def test_a_clean_image_is_left_where_it_lies_under_its_hash(tmp_path: Path) -> None:
    picture(tmp_path / "a" / "x.png")
    media = ImageFolder(str(tmp_path)).samples()[0].media[0]
    data = (tmp_path / "a" / "x.png").read_bytes()
    assert (media.path, media.data) == (str(tmp_path / "a" / "x.png"), None)
    assert (media.sha256, media.mime, media.read()) == (sha256(data), "image/png", data)


def test_a_file_of_several_pages_is_one_sample_with_a_medium_a_page(tmp_path: Path) -> None:
    pages = np.stack([np.full((4, 6), value, np.uint8) for value in (10, 20, 30)])
    tifffile.imwrite(tmp_path / "stack.tif", pages, photometric="minisblack")
    (sample,) = ImageFolder(str(tmp_path)).samples()
    assert [int(load_array(media)[0, 0, 0]) for media in sample.media] == [10, 20, 30]


def test_a_corrupt_image_is_named_when_samples_are_read(tmp_path: Path) -> None:
    picture(tmp_path / "a" / "fine.png")
    picture(tmp_path / "a" / "torn.png")
    data = (tmp_path / "a" / "torn.png").read_bytes()
    (tmp_path / "a" / "torn.png").write_bytes(data[:-20])
    with pytest.raises(HarnessError, match=r"a/torn\.png is corrupt"):
        ImageFolder(str(tmp_path)).samples()


def test_a_file_that_only_claims_to_be_an_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "page.png").write_text("<html>")
    with pytest.raises(HarnessError, match=r"page\.png is no PNG, JPEG, TIFF or DICOM"):
        ImageFolder(str(tmp_path)).samples()


def test_an_absent_folder_and_an_empty_one_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="there is no folder"):
        ImageFolder(str(tmp_path / "none")).samples()
    with pytest.raises(HarnessError, match="holds no PNG"):
        ImageFolder(str(tmp_path)).samples()


def test_a_table_names_images_relative_to_itself(tmp_path: Path) -> None:
    picture(tmp_path / "pictures" / "one.png", 1)
    picture(tmp_path / "pictures" / "two.png", 2)
    (tmp_path / "t.csv").write_bytes(
        b"\xef\xbb\xbfimage,dx,site,eye,split\n"
        b"pictures/two.png,sick,north,e1,test\npictures/one.png,,south,e1,test\n"
        b"absent.png,,,,train\n"
    )
    source = ImageTable(
        str(tmp_path / "t.csv"),
        label="dx", metadata=["site"], cluster="eye", where={"split": "test"},
    )  # fmt: skip
    two, one = source.samples()
    assert (two.id, two.label, two.metadata, two.cluster) == (
        "pictures/two.png", "sick", {"site": "north"}, "e1",
    )  # fmt: skip
    assert (one.id, one.label) == ("pictures/one.png", None)
    assert load_array(one.media[0])[0, 0].tolist() == [1, 0, 0]


def test_a_table_may_give_one_image_two_ids(tmp_path: Path) -> None:
    picture(tmp_path / "x.png")
    (tmp_path / "t.csv").write_text("id,image\n1,x.png\n2,x.png\n")
    samples = ImageTable(str(tmp_path / "t.csv"), id="id").samples()
    assert [sample.id for sample in samples] == ["1", "2"]
    assert samples[0].media == samples[1].media
    with pytest.raises(HarnessError, match=r"line 3: the id 'x\.png' is already that of line 2"):
        ImageTable(str(tmp_path / "t.csv")).samples()


def test_a_row_whose_image_is_absent_is_named_by_its_line(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image\nnone.png\n")
    with pytest.raises(HarnessError, match=r"line 2: there is no image .*none\.png"):
        ImageTable(str(tmp_path / "t.csv")).samples()


def test_files_that_cannot_be_read_are_left_out_on_request_and_each_is_told(tmp_path: Path) -> None:
    picture(tmp_path / "a" / "fine.png")
    (tmp_path / "a" / "torn.png").write_bytes(b"<html>")
    source = ImageFolder(str(tmp_path), skip_invalid=True)
    assert [sample.id for sample in source.samples()] == ["a/fine.png"]
    head, listed = source.notes
    assert "1 of 2 files are left out (skip_invalid)" in head
    assert "torn.png" in listed


def test_rows_of_absent_images_are_left_out_on_request_and_each_is_told(tmp_path: Path) -> None:
    picture(tmp_path / "x.png")
    (tmp_path / "t.csv").write_text("image,dx\nnone.png,sick\nx.png, sick \n")
    source = ImageTable(str(tmp_path / "t.csv"), label="dx", skip_invalid=True)
    assert [(sample.id, sample.label) for sample in source.samples()] == [("x.png", "sick")]
    head, listed = source.notes
    assert "1 of 2 rows are left out" in head
    assert "line 2: there is no image" in listed
