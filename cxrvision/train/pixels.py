"""Where the pixels of a batch come from: a cache, memory of the device, or the files themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cxrlabel.errors import InputError
from cxrvision.data.views import VIEWS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cxrvision.data.cache import Cache
    from cxrvision.model.study_model import StudyLogits, StudyModel
    from cxrvision.train.batches import BatchPlan
    from cxrvision.train.studies import Studies

RESIDENT_SHARE = 0.5  # of the free memory of a GPU that images may take


class PixelSource(Protocol):
    """Gives images by row."""

    def read(self, rows: NDArray[np.int64]) -> Tensor:
        """[m, 1, S, S] uint8."""


@dataclass(frozen=True, slots=True, eq=False)
class CachedPixels:
    """Images of a cache, memory-mapped."""

    cache: Cache
    rows: NDArray[np.int64]  # [M] image of the studies -> row of the cache

    def read(self, rows: NDArray[np.int64]) -> Tensor:
        """[m, 1, S, S] uint8."""
        return torch.from_numpy(self.cache.read(self.rows[rows])).unsqueeze(1)


@dataclass(frozen=True, slots=True, eq=False)
class FilePixels:
    """Images decoded when they are asked for."""

    paths: NDArray[np.object_]  # [M]
    size: int
    fit: str

    def read(self, rows: NDArray[np.int64]) -> Tensor:
        """[m, 1, S, S] uint8."""
        from cxrvision.data.images import read_square

        pixels = [read_square(self.paths[row], self.size, fit=self.fit) for row in rows]
        return torch.from_numpy(np.stack(pixels)).unsqueeze(1)


@dataclass(frozen=True, slots=True, eq=False)
class ResidentPixels:
    """All images in the memory of the device."""

    images: Tensor  # [M, 1, S, S] uint8

    def read(self, rows: NDArray[np.int64]) -> Tensor:
        """[m, 1, S, S] uint8, on the device."""
        return self.images[torch.from_numpy(rows).to(self.images.device, non_blocking=True)]


def cached_pixels(studies: Studies, cache: Cache, *, place: str) -> CachedPixels:
    """The images of some studies in a cache.

    Raises:
        InputError: an image is not in the cache.
    """
    rows = cache.find(studies.images)
    if (rows < 0).any():
        missing = studies.images[rows < 0]
        raise InputError(
            f"{place}: image {missing[0]!r} ({len(missing)} in all) is not in the cache; "
            "make it from the same manifest"
        )
    return CachedPixels(cache, rows)


def on_device(pixels: PixelSource, device: torch.device) -> PixelSource:
    """Cached images in the memory of a GPU, where they fit; else the source as it is."""
    if device.type != "cuda" or not isinstance(pixels, CachedPixels):
        return pixels
    free, _ = torch.cuda.mem_get_info(device)
    if len(pixels.rows) * pixels.cache.size**2 > RESIDENT_SHARE * free:
        return pixels
    images = torch.empty(
        (len(pixels.rows), 1, pixels.cache.size, pixels.cache.size),
        dtype=torch.uint8,
        device=device,
    )
    for begin in range(0, len(images), 4096):
        rows = np.arange(begin, min(begin + 4096, len(images)))
        images[begin : begin + len(rows)] = pixels.read(rows).to(device)
    return ResidentPixels(images)


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Tensors of n studies with m images."""

    index: Tensor  # [n] int64, which studies
    images: Tensor  # [m, 1, S, S] uint8
    views: Tensor  # [m] int64, index in VIEWS
    study: Tensor  # [m] int64 in 0 ... n - 1
    targets: Tensor  # [n, F] in [0, 1]
    mask: Tensor  # [n, F] 1 where the target counts
    features: Tensor  # [n, K], NaN where unknown
    counts: tuple[int, ...]  # images of each view in VIEWS, by which they are sorted

    def logits(self, model: Any, pixels: Tensor, views: Sequence[str]) -> StudyLogits:
        """What a model of these views makes of the batch.

        Args:
            pixels: [m, 1, S, S] in [0, 1].
        """
        found: StudyLogits = self._pass(model, pixels, views)
        return found

    def fused(self, model: StudyModel, pixels: Tensor, views: Sequence[str]) -> Tensor:
        """[n, D] what the joint head of a model reads; arguments as of `logits`."""
        fused: Tensor = self._pass(model.fuse, pixels, views)[0]
        return fused

    def _pass(self, call: Any, pixels: Tensor, views: Sequence[str]) -> Any:
        n, counts = len(self.index), [self.counts[VIEWS.index(view)] for view in views]
        return call(pixels, self.views, self.study, n, self.features, counts=counts)

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """The same in page-locked memory, for a copy beside the computation."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        return Batch(
            index=change(self.index),
            images=change(self.images),
            views=change(self.views),
            study=change(self.study),
            targets=change(self.targets),
            mask=change(self.mask),
            features=change(self.features),
            counts=self.counts,
        )


class BatchData(Dataset[Batch | InputError]):
    """Batches by their plan, or why one cannot be had.

    An error is handed over as a value, since a loader would add the traceback of its worker to one
    that is raised there.
    """

    def __init__(
        self,
        studies: Studies,
        pixels: PixelSource,
        targets: NDArray[np.float32],
        mask: NDArray[np.float32],
    ) -> None:
        self.studies, self.pixels = studies, pixels
        self.targets, self.mask = torch.from_numpy(targets), torch.from_numpy(mask)
        self.features = torch.from_numpy(studies.features)
        self.views = torch.from_numpy(studies.views)

    def __getitem__(self, plan: BatchPlan) -> Batch | InputError:
        index = torch.from_numpy(plan.index)
        try:
            images = self.pixels.read(plan.rows)
        except InputError as error:
            return error
        return Batch(
            index=index,
            images=images,
            views=self.views[torch.from_numpy(plan.rows)],
            study=torch.from_numpy(plan.study),
            targets=self.targets[index],
            mask=self.mask[index],
            features=self.features[index],
            counts=plan.counts,
        )


def load_batches(
    data: BatchData, plans: Sequence[BatchPlan], *, device: torch.device, workers: int = 0
) -> Iterator[Batch]:
    """The planned batches on the device, in order.

    Args:
        workers: processes that read ahead; none for images that are on the device.

    Raises:
        InputError: an image cannot be read.
    """
    resident = isinstance(data.pixels, ResidentPixels)
    loader: DataLoader[Any] = DataLoader(
        data,
        batch_size=None,
        sampler=plans,  # a plan is the index of a batch
        num_workers=0 if resident else workers,
        pin_memory=device.type == "cuda" and not resident,
        collate_fn=_as_it_is,  # type: ignore[arg-type]
    )
    for batch in loader:
        if isinstance(batch, InputError):
            raise batch
        yield batch.to(device)


def _as_it_is(batch: Batch | InputError) -> Batch | InputError:
    return batch
