"""Pixels of batches: files, cache and memory give the same, and a broken file is one line."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_studies import FINDINGS, draw_studies

from cxrlabel.errors import InputError
from cxrvision.data.cache import build_cache, open_cache
from cxrvision.data.manifest import read_manifest
from cxrvision.train.batches import plan_all
from cxrvision.train.pixels import (
    Batch,
    BatchData,
    FilePixels,
    PixelSource,
    ResidentPixels,
    cached_pixels,
    load_batches,
    on_device,
)
from cxrvision.train.studies import Studies, make_studies

CPU = torch.device("cpu")
SIZE = 24


@pytest.fixture
def drawn(tmp_path: Path) -> Studies:
    """Six studies of images of another size than is asked for."""
    manifest, _ = draw_studies(tmp_path, studies=6)
    return make_studies(read_manifest(manifest), findings=FINDINGS, features=("age",))


def files(studies: Studies) -> FilePixels:
    return FilePixels(studies.paths, SIZE, "pad")


def batches(studies: Studies, pixels: PixelSource, *, workers: int = 0) -> Iterator[Batch]:
    states = np.arange(studies.states.size, dtype=np.float32).reshape(studies.states.shape)
    data = BatchData(studies, pixels, states, np.ones_like(states))
    return load_batches(data, plan_all(studies, batch_size=4), device=CPU, workers=workers)


def test_all_sources_give_the_same(drawn: Studies, tmp_path: Path) -> None:
    build_cache(read_manifest(tmp_path / "studies.csv"), tmp_path / "cache", size=SIZE)
    cached = cached_pixels(drawn, open_cache(tmp_path / "cache"), place="cache")
    every = np.arange(len(drawn.images))
    resident = ResidentPixels(cached.read(every))

    for rows in (every, every[[3, 0, 0]]):
        found = [source.read(rows) for source in (files(drawn), cached, resident)]
        assert found[0].shape == (len(rows), 1, SIZE, SIZE)
        assert found[0].dtype == torch.uint8
        assert torch.equal(found[0], found[1])
        assert torch.equal(found[0], found[2])
    assert on_device(cached, CPU) is cached


def test_an_image_that_the_cache_lacks_is_said(drawn: Studies, tmp_path: Path) -> None:
    manifest = read_manifest(tmp_path / "studies.csv")
    half = manifest.table.iloc[: len(manifest.table) // 2]
    build_cache(type(manifest)(half, manifest.root, "half"), tmp_path / "cache", size=SIZE)

    with pytest.raises(InputError, match=r"here: image 's00\d_\w+' \(\d in all\) is not in the"):
        cached_pixels(drawn, open_cache(tmp_path / "cache"), place="here")


def test_batches_hold_what_their_plan_says(drawn: Studies) -> None:
    first, second = batches(drawn, files(drawn))

    assert first.index.tolist() == [0, 1, 2, 3]
    assert second.targets.tolist() == [[8, 9], [10, 11]]
    assert first.views.tolist() == sorted(first.views.tolist())
    assert list(first.counts) == torch.bincount(first.views, minlength=2).tolist()
    whole = files(drawn).read(np.arange(len(drawn.images)))
    for image, view, study in zip(first.images, first.views, first.study, strict=True):
        start, end = drawn.offsets[study], drawn.offsets[study + 1]
        (row,) = np.flatnonzero(drawn.views[start:end] == view.item()) + start
        assert torch.equal(image, whole[row])


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_file_is_one_line_that_names_it(drawn: Studies, workers: int) -> None:
    Path(drawn.paths[-1]).write_bytes(b"no image")

    with pytest.raises(InputError) as caught:
        list(batches(drawn, files(drawn), workers=workers))

    assert drawn.paths[-1] in str(caught.value)
    assert "\n" not in str(caught.value)
