"""Loading of one crop, with an error that names the file."""

import io
import os
import struct
import warnings

import cv2
import mmcv
import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image

from mmreid.registry import TRANSFORMS


class UnreadableImageError(OSError):
    """An image file that cannot be decoded; the message names it."""


# An image of a whole scene has a fifth of it, a crop a thousandth.
MAX_PIXELS = 25_000_000


@TRANSFORMS.register_module()
class LoadReIDImage(BaseTransform):
    """Decode an image file to BGR.

    Required keys: ``img_path``. Added keys: ``img``, a uint8 array of shape
    (H, W, 3) in BGR order, ``img_shape`` and ``ori_shape``, both (H, W).

    Args:
        max_pixels (int): An image of more is not decoded, for a file of a MB
            can hold a GB of pixels. Defaults to 25 million.

    Raises:
        UnreadableImageError: If the file is missing, empty, cut off, no
            image, or has more pixels than the limit.
    """

    def __init__(self, max_pixels: int = MAX_PIXELS) -> None:
        self.max_pixels = max_pixels

    def transform(self, results: dict) -> dict:
        img = read_image(results['img_path'], self.max_pixels)
        results['img'] = img
        results['img_shape'] = results['ori_shape'] = img.shape[:2]
        return results


def read_image(
    path: str | os.PathLike, max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """Decode an image file.

    Args:
        path (str): The file.
        max_pixels (int): See :class:`LoadReIDImage`. Defaults to 25 million.

    Returns:
        np.ndarray: uint8 of shape (H, W, 3), in BGR order.

    Raises:
        UnreadableImageError: See :class:`LoadReIDImage`.
    """
    try:
        with open(path, 'rb') as file:
            return decode_image(file.read(), max_pixels)
    except (OSError, ValueError, cv2.error) as error:
        # One argument, because a loader's worker hands the class and
        # its message to the main process, which builds it anew.
        raise UnreadableImageError(
            f"Image '{path}' cannot be read: {reason_of(error)}. Restore it, "
            "remove it, or let on_error='skip' of the data set pass over it."
        ) from error


def reason_of(error: Exception) -> str:
    """Why an image cannot be read, without the file's name."""
    return getattr(error, 'strerror', None) or str(error).strip()


def decode_image(content: bytes, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode the content of an image file.

    Args:
        content (bytes): All of it.
        max_pixels (int): See :class:`LoadReIDImage`. Defaults to 25 million.

    Returns:
        np.ndarray: uint8 of shape (H, W, 3), in BGR order.

    Raises:
        ValueError: With the reason, if it is no whole image, or too large.
        cv2.error: If OpenCV has another.
    """
    if not content:
        raise ValueError('the file is empty')
    # OpenCV 4 fills the missing part of a cut off JPEG with grey and says
    # nothing, so look for the end-of-image marker, which coded image data
    # cannot contain. It is at or near the end.
    if content[:2] == _JPEG and content.rfind(b'\xff\xd9') < 0:
        raise ValueError('the JPEG data is cut off')
    # The same of a PNG, whose last chunk is this one.
    if content[:8] == _PNG and content.rfind(b'IEND') < 0:
        raise ValueError('the PNG data is cut off')
    # No file is too small to be looked at: a JPEG of some hundred bytes,
    # which libjpeg completes with grey, may claim 65,535 x 65,535 pixels.
    width, height = image_size(content) or (0, 0)
    if width * height > max_pixels:
        raise ValueError(
            f'it has {width} x {height} pixels, which is more than '
            f'{max_pixels:,}, so it is no crop of a person (max_pixels of '
            'LoadReIDImage is the limit)'
        )
    img = mmcv.imfrombytes(content, flag='color', backend='cv2')
    if img is None:
        raise ValueError('OpenCV cannot decode it as an image')
    return img


_JPEG, _PNG = b'\xff\xd8', b'\x89PNG\r\n\x1a\n'
# Start of frame, of every coding; 0xC4, 0xC8 and 0xCC are other segments.
_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
# Fill bytes, and markers that no segment follows.
_JPEG_ALONE = {0x00, 0x01, 0xFF, *range(0xD0, 0xD9)}


def image_size(content: bytes) -> tuple[int, int] | None:
    """What the head of an image file says of its size; nothing is decoded.

    Args:
        content (bytes): The file's content.

    Returns:
        tuple[int, int] or None: Width and height; None where it is no image.

    Raises:
        ValueError: If it is an image of a rare format, of more than 178
            million pixels.
    """
    # The two that matter take 1 microsecond or 2 here, and Pillow 30.
    if content[:8] == _PNG and len(content) >= 24:
        return struct.unpack_from('>II', content, 16)
    if content[:2] == _JPEG:
        return _jpeg_size(content)
    try:
        with warnings.catch_warnings():
            # Of a size that is looked at here.
            warnings.simplefilter('ignore', Image.DecompressionBombWarning)
            return Image.open(io.BytesIO(content)).size
    except Image.DecompressionBombError as error:
        raise ValueError(str(error).rstrip('.')) from error
    # Pillow raises what not at foreign bytes; OpenCV will say it, too.
    except Exception:
        return None


def _jpeg_size(content: bytes) -> tuple[int, int] | None:
    place = 2
    # libjpeg, too, passes over what lies between the segments.
    while (place := content.find(b'\xff', place) + 1) and place + 8 <= len(
        content
    ):
        marker = content[place]
        if marker in _JPEG_FRAMES:
            return struct.unpack_from('>HH', content, place + 4)[::-1]
        if marker not in _JPEG_ALONE:
            place += 1 + int.from_bytes(content[place + 1 : place + 3], 'big')
    return None
