"""Images a second: reading files by kind, plain Pillow beside it, and gathering from a cache.

Usage: python -m benchmarks.image_reading [--size 320] [--seconds 3] [--images FOLDER]

Films are drawn (a smooth body with noise, which compresses about as badly as a real one) in the
sizes that data sets come in. Plain Pillow is what many loaders do: open, convert to 8-bit gray,
resize bilinear. One thread; times are of the processor, so that other work on the machine counts
little. Waiting for a disk is not in them.
"""

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from cxrvision.data.cache import build_cache, open_cache
from cxrvision.data.images import read_pixels, read_square
from cxrvision.data.manifest import read_manifest

ENDINGS = {".png", ".jpg", ".jpeg", ".dcm"}
CACHED = 512
BATCH = 64


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--images", type=Path, help="also time all images below this folder")
    args = parser.parse_args()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; one thread"
    )
    print(
        f"{'to ' + str(args.size) + ' px':34}{'images/s':>10}{'ms':>8}{'plain Pillow':>14}{'x':>7}"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        kinds = write_kinds(folder)
        if args.images:
            files = sorted(p for p in args.images.rglob("*") if p.suffix.lower() in ENDINGS)
            for ending in sorted({path.suffix.lower() for path in files}):
                some = [path for path in files if path.suffix.lower() == ending]
                kinds[f"{len(some)} files {ending} of --images"] = some
        for kind, paths in kinds.items():
            ours = rate(lambda path: read_square(path, args.size), paths, args.seconds)
            is_raster = paths[0].suffix != ".dcm"
            plain = (
                rate(lambda path: pillow(path, args.size), paths, args.seconds) if is_raster else 0
            )
            line(kind, ours, plain)
        whole = kinds["PNG 1024, 8 bits"]
        line("PNG 1024, at its own size, float", rate(read_pixels, whole, args.seconds))
        gather(folder, args.size, args.seconds)


def line(kind: str, ours: float, plain: float = 0) -> None:
    """One row of the table."""
    beside = f"{plain:14,.1f}{ours / plain:7.2f}" if plain else ""
    print(f"{kind:34}{ours:10,.1f}{1000 / ours:8.2f}{beside}", flush=True)


def film(side: int, seed: int = 0) -> np.ndarray:
    """[side, side] fractions in [0, 1]."""
    rng = np.random.default_rng(seed)
    down, right = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    body = np.exp(-1.5 * (right**2 + 0.4 * down**2))
    for x in (-0.4, 0.4):
        body -= 0.5 * np.exp(-(((right - x) / 0.25) ** 2) - (down / 0.5) ** 2)
    return np.clip(body + rng.normal(0, 0.008, body.shape), 0, 1)


def write_kinds(folder: Path) -> dict[str, list[Path]]:
    """Kind -> files of it."""
    small, large = film(1024), film(2544)
    gray = {1024: Image.fromarray((small * 255).astype(np.uint8)),
            2544: Image.fromarray((large * 255).astype(np.uint8))}  # fmt: skip
    images = {
        "PNG 1024, 8 bits": (gray[1024], "a.png"),
        "PNG 1024, RGBA": (gray[1024].convert("RGBA"), "b.png"),
        "PNG 2544, 16 bits": (Image.fromarray((large * 65535).astype(np.uint16)), "c.png"),
        "JPEG 1024": (gray[1024], "d.jpg"),
        "JPEG 2544": (gray[2544], "e.jpg"),
        "JPEG 2544, RGB": (gray[2544].convert("RGB"), "f.jpg"),
    }
    kinds = {}
    for kind, (image, name) in images.items():
        image.save(folder / name)
        kinds[kind] = [folder / name]
    stored = (large * 4095).astype(np.uint16)
    for name, is_packed in (("g.dcm", False), ("h.dcm", True)):
        write_dicom(folder / name, stored, is_packed)
        kinds[f"DICOM 2544, 12 bits{', RLE' if is_packed else ''}"] = [folder / name]
    return kinds


def write_dicom(path: Path, stored: np.ndarray, is_packed: bool) -> None:
    """A DICOM file with a window."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, RLELossless

    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID, made.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1", "1.2.3"
    made.Rows, made.Columns = stored.shape
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 12, 11, 0
    made.WindowCenter, made.WindowWidth = 2048, 4096
    made.PixelData = stored.tobytes()
    if is_packed:
        made.compress(RLELossless)
    made.save_as(path, enforce_file_format=True)


def pillow(path: Path, size: int) -> np.ndarray:
    """What many loaders do."""
    with Image.open(path) as image:
        if image.mode.startswith("I"):
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        return np.asarray(image.convert("L").resize((size, size), Image.Resampling.BILINEAR))


def rate(read: Callable[[Path], object], paths: Sequence[Path], seconds: float) -> float:
    """Images a second, after one round that is not timed."""
    read(paths[0])
    began, done = time.process_time(), 0
    while True:
        for path in paths:
            read(path)
            done += 1
        spent = time.process_time() - began
        if spent > seconds:
            return done / spent


def gather(folder: Path, size: int, seconds: float) -> None:
    """Build a cache of small files, then read random batches of it."""
    names = []
    for number in range(CACHED):
        name = f"n{number:04}.jpg"
        Image.fromarray((film(256, number) * 255).astype(np.uint8)).save(folder / name)
        names.append(name)
    rows = "".join(f"{name},{name},frontal\n" for name in names)
    (folder / "studies.csv").write_text("study_id,path,view\n" + rows)
    manifest = read_manifest(folder / "studies.csv")
    began = time.process_time()
    build_cache(manifest, folder / "cache", size=size)
    line("cache: build from JPEG 256", CACHED / (time.process_time() - began))
    began = time.process_time()
    build_cache(manifest, folder / "cache", size=size)
    line("cache: build again, all there", CACHED / (time.process_time() - began))
    began = time.process_time()
    cache = open_cache(folder / "cache")
    line("cache: open and verify", CACHED / (time.process_time() - began))
    rng = np.random.default_rng(0)
    buffer = np.empty((BATCH, size, size), np.uint8)
    draws = [rng.integers(0, len(cache), BATCH) for _ in range(64)]
    for label, out in (("new arrays", None), ("one buffer", buffer)):
        began, done = time.process_time(), 0
        while time.process_time() - began < seconds:
            cache.read(draws[done % 64], out=out)
            done += 1
        line(f"cache: batches of {BATCH}, {label}", done * BATCH / (time.process_time() - began))


if __name__ == "__main__":
    main()
