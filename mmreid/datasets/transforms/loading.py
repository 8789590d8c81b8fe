"""Loading of one crop, with an error that names the file."""

import io
import math
import sys
import warnings

import cv2
import mmcv
import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image

from mmreid.registry import TRANSFORMS


class UnreadableImageError(OSError):
    """An image file that cannot be decoded; the message names it."""


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

    def __init__(self, max_pixels: int = 25_000_000) -> None:
        self.max_pixels = max_pixels

    def transform(self, results: dict) -> dict:
        path = results['img_path']
        try:
            with open(path, 'rb') as file:
                img = self._decode(file.read())
        except (OSError, ValueError, cv2.error) as error:
            reason = getattr(error, 'strerror', None) or str(error).strip()
            # One argument, because a loader's worker hands the class and
            # its message to the main process, which builds it anew.
            raise UnreadableImageError(
                f"Image '{path}' cannot be read: {reason}. Restore it, remove "
                "it, or let on_error='skip' of the data set pass over it."
            ) from error
        results['img'] = img
        results['img_shape'] = results['ori_shape'] = img.shape[:2]
        return results

    def _decode(self, content: bytes) -> np.ndarray:
        if not content:
            raise ValueError('the file is empty')
        # OpenCV 4 fills the missing part of a cut off JPEG with grey and says
        # nothing, so look for the end-of-image marker, which coded image data
        # cannot contain. It is at or near the end.
        if content[:2] == b'\xff\xd8' and content.rfind(b'\xff\xd9') < 0:
            raise ValueError('the JPEG data is cut off')
        # The same of a PNG, whose last chunk is this one.
        if content[:4] == b'\x89PNG' and content.rfind(b'IEND') < 0:
            raise ValueError('the PNG data is cut off')
        if _may_be_large(content) and _num_pixels(content) > self.max_pixels:
            raise ValueError(
                f'it has more than {self.max_pixels:,} pixels, so it is no '
                'crop of a person; max_pixels of LoadReIDImage is the limit'
            )
        img = mmcv.imfrombytes(content, flag='color', backend='cv2')
        if img is None:
            raise ValueError('OpenCV cannot decode it as an image')
        return img


def _may_be_large(content: bytes) -> bool:
    """Whether a file could hold tens of millions of pixels.

    A PNG's are compressed to a thousandth at best, a JPEG's to a four
    hundredth: a small file need not be looked at.
    """
    is_common = content[:2] == b'\xff\xd8' or content[:4] == b'\x89PNG'
    return len(content) > 20_000 or not is_common


def _num_pixels(content: bytes) -> int:
    """What an image's head says; 0 if that cannot be read."""
    try:
        with warnings.catch_warnings():
            # Of a size that is looked at here.
            warnings.simplefilter('ignore', Image.DecompressionBombWarning)
            return math.prod(Image.open(io.BytesIO(content)).size)
    except Image.DecompressionBombError:
        return sys.maxsize
    # What OpenCV will say, too.
    except (OSError, ValueError, SyntaxError):
        return 0
