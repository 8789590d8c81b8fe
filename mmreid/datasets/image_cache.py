"""Decoded and resized images of a data set, kept in one file."""

import errno
import hashlib
import io
import json
import os
import shutil
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import PIL
from filelock import FileLock
from mmcv.transforms import Resize

from mmreid.errors import InputError
from mmreid.utils.progress import progress

from .transforms import (
    LoadReIDImage,
    MatlabResize,
    PackReIDInputs,
    UnreadableImageError,
)

# Counts the layouts of the file: another one must not read this one's.
FORMAT = 2
# Steps that make the same image of a file at every call.
CACHEABLE = (LoadReIDImage, Resize, MatlabResize)
# Bytes of the checksum at the end of the file, and of a read for it.
CHECKSUM, BLOCK = 4, 1 << 24
# Images in memory while building.
CHUNK = 512


def cached_steps(transforms: Sequence[Callable]) -> int:
    """Count the first steps of a pipeline, whose images can be kept.

    Args:
        transforms (Sequence[Callable]): The steps.

    Returns:
        int: How many come before :class:`PackReIDInputs`.

    Raises:
        InputError: If one of these may be random, or there is no such step.
    """
    for index, transform in enumerate(transforms):
        if isinstance(transform, PackReIDInputs):
            return index
        # A subclass may do anything.
        if type(transform) not in CACHEABLE:
            raise InputError(
                'cache_dir keeps what LoadReIDImage, mmcv.Resize and '
                f"MatlabResize make, but the pipeline's step {index} is "
                f'{type(transform).__name__}, which may be random: remove it '
                'or cache_dir.'
            )
    raise InputError(
        'cache_dir needs a pipeline with the step PackReIDInputs, found '
        f'{[type(t).__name__ for t in transforms]}.'
    )


def cache_key(
    paths: Sequence[str], root: str, transforms: Sequence[Callable]
) -> str:
    """Name what decides the pixels of a cache: another is another file.

    Args:
        paths (Sequence[str]): The images. Their paths below ``root``, sizes
            and modification times count.
        root (str): The folder that may be moved with all images.
        transforms (Sequence[Callable]): The steps that make the images. Their
            settings, and the versions of OpenCV and Pillow, count.

    Returns:
        str: 16 hexadecimal digits.
    """
    steps = [(type(t).__name__, vars(t)) for t in transforms]
    head = [FORMAT, cv2.__version__, PIL.__version__, steps]
    key = hashlib.sha256(json.dumps(head, sort_keys=True).encode())
    for path in paths:
        try:
            stat = os.stat(path)
            state = [stat.st_size, stat.st_mtime_ns]
        except OSError:
            state = None  # What that means is for on_error to say.
        line = [os.path.relpath(path, root), state]
        key.update(json.dumps(line).encode())
    return key.hexdigest()[:16]


class ImageCache:
    """The images of a data set, all of one size, in a memory-mapped file.

    The processes of a machine share its pages, and it need not fit into
    memory. A copy, in a worker process or not, opens it anew.

    Args:
        path (Path): The file, ``*.npy``: one record per image, of ``image``,
            uint8 of shape (3, H, W), and ``readable``; then the CRC-32 of
            what comes before.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._images = self._readable = None

    def __getstate__(self) -> dict:
        return dict(path=self.path, _images=None, _readable=None)

    def get(self, idx: int) -> np.ndarray | None:
        """Get an image.

        Args:
            idx (int): Its index.

        Returns:
            np.ndarray or None: uint8 of shape (3, H, W), a copy; None if the
            image could not be read.
        """
        if self._images is None:
            # Read only: a private writable map may not exceed the memory,
            # and what is written to a shared one lands in the file.
            records = np.load(self.path, mmap_mode='r')
            # Plain arrays, since indexing a memmap takes longer.
            self._images = np.asarray(records['image'])
            self._readable = np.asarray(records['readable'])
        return self._images[idx].copy() if self._readable[idx] else None

    def build(
        self,
        paths: Sequence[str],
        transforms: Sequence[Callable],
        on_error: str,
    ) -> None:
        """Write the file, unless it is there and whole.

        Reading it for its checksum takes a second or less per GB. Of several
        processes that want it at once one writes and the others wait. The
        file gets its name when it is complete.

        Args:
            paths (Sequence[str]): The images.
            transforms (Sequence[Callable]): The steps that load one.
            on_error (str): What to do with an image that cannot be read:
                'raise' its error or 'skip', which marks it.

        Raises:
            UnreadableImageError: With ``on_error='raise'``.
            InputError: If the folder cannot be written, or the images differ
                in size.
            OSError: If the disk is full.
        """
        if self._is_whole():
            return
        folder = self.path.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path.with_suffix('.lock')).acquire()
        except OSError as error:
            raise InputError(
                f"cache_dir '{folder}' cannot be written ({error.strerror}): "
                'set it to a folder that can be, or leave it out.'
            ) from error
        with lock:
            # Another process may have, in the meantime.
            if not self._is_whole():
                self._write(paths, transforms, on_error)

    def _is_whole(self) -> bool:
        """Whether the file is there, with the checksum of its bytes."""
        try:
            with open(self.path, 'rb') as file:
                left = os.fstat(file.fileno()).st_size - CHECKSUM
                checksum = 0
                while left > 0:
                    block = file.read(min(BLOCK, left))
                    checksum = zlib.crc32(block, checksum)
                    left -= len(block)
                return file.read() == checksum.to_bytes(CHECKSUM, 'big')
        except OSError:
            return False

    def _write(
        self,
        paths: Sequence[str],
        transforms: Sequence[Callable],
        on_error: str,
    ) -> None:
        def load(path: str) -> np.ndarray | None:
            results = dict(img_path=path)
            try:
                for transform in transforms:
                    results = transform(results)
            except UnreadableImageError:
                if on_error == 'raise':
                    raise
                return None
            return np.ascontiguousarray(results['img'].transpose(2, 0, 1))

        first = next((i for i in map(load, paths) if i is not None), None)
        if first is None:
            raise InputError(
                f'None of the {len(paths)} images can be read, the first is '
                f"'{paths[0]}'."
            )
        record = np.zeros(
            (), [('image', np.uint8, first.shape), ('readable', bool)]
        )
        needed = len(paths) * record.nbytes
        # Only who holds the lock writes, so a name of its own is not needed,
        # and what a killed process left does not stay.
        part = self.path.with_suffix('.part')
        part.unlink(missing_ok=True)
        what = f'{self.path.name} ({needed / 1e9:.2f} GB)'
        starts = range(0, len(paths), CHUNK)
        try:
            if shutil.disk_usage(part.parent).free < needed:
                raise OSError(errno.ENOSPC, 'too little space')
            # OpenCV decodes and resizes without Python's lock.
            with (
                open(part, 'wb') as file,
                ThreadPoolExecutor() as pool,
                progress(what, len(starts), any_rank=True) as advance,
            ):
                header = io.BytesIO()
                np.lib.format.write_array_header_1_0(
                    header,
                    dict(
                        descr=np.lib.format.dtype_to_descr(record.dtype),
                        fortran_order=False,
                        shape=(len(paths),),
                    ),
                )
                file.write(header.getvalue())
                checksum = zlib.crc32(header.getvalue())
                for start in starts:
                    chunk = paths[start : start + CHUNK]
                    images = pool.map(load, chunk)
                    for path, image in zip(chunk, images, strict=True):
                        record['readable'] = image is not None
                        record['image'] = _checked(image, first, path)
                        file.write(record)
                        checksum = zlib.crc32(record, checksum)
                    advance()
                file.write(checksum.to_bytes(CHECKSUM, 'big'))
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, self.path)
        except BaseException as error:
            part.unlink(missing_ok=True)
            if getattr(error, 'errno', None) in (errno.ENOSPC, errno.EDQUOT):
                raise OSError(
                    f"The disk is full: '{self.path}' needs {needed} bytes. "
                    'Make room, set cache_dir to a folder on another disk, '
                    'or leave it out.'
                ) from error
            raise


def _checked(
    image: np.ndarray | None, first: np.ndarray, path: str
) -> np.ndarray | int:
    """An image of the size of the first one, or zeros for none."""
    if image is None:
        return 0
    if image.shape != first.shape:
        raise InputError(
            f"cache_dir needs images of one size, but '{path}' becomes "
            f'{image.shape[1:]} and others {first.shape[1:]} (height, '
            "width): give the pipeline's mmcv.Resize a scale without "
            'keep_ratio, or leave cache_dir out.'
        )
    return image
