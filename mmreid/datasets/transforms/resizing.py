"""Resizing as MATLAB does it."""

import math

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image

from mmreid.errors import InputError
from mmreid.registry import TRANSFORMS


@TRANSFORMS.register_module()
class MatlabResize(BaseTransform):
    """Resize as ``uint8(imresize(img, [height, width]))`` of MATLAB does.

    The published data of MAR went through it: bicubic with a = -0.5, the
    kernel widened where an axis shrinks (antialiasing), pixels mirrored at
    the borders. Equal to within one grey level. ``mmcv.Resize`` with
    Pillow's bicubic differs in that it cuts the kernel off at the borders.

    Required keys: ``img``, uint8 of shape (H, W, 3). Modified keys: ``img``
    and ``img_shape``.

    Args:
        scale (tuple[int, int]): Width and height of the result.

    Raises:
        InputError: If ``scale`` is not two positive integers.
    """

    def __init__(self, scale: tuple[int, int]) -> None:
        scale = tuple(scale) if isinstance(scale, list | tuple) else (scale,)
        if len(scale) != 2 or not all(
            isinstance(size, int) and size > 0 for size in scale
        ):
            raise InputError(
                'MatlabResize needs scale=(width, height), two positive '
                f'integers, but has {scale}.'
            )
        self.scale = scale

    def transform(self, results: dict) -> dict:
        results['img'] = matlab_resize(results['img'], self.scale)
        results['img_shape'] = results['img'].shape[:2]
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(scale={self.scale})'


def matlab_resize(img: np.ndarray, scale: tuple[int, int]) -> np.ndarray:
    """Resize an image, see :class:`MatlabResize`.

    Args:
        img (np.ndarray): uint8 of shape (H, W, 3), in any channel order.
        scale (tuple[int, int]): Width and height of the result.

    Returns:
        np.ndarray: uint8 of shape (height, width, 3).
    """
    height, width = img.shape[:2]
    # The kernel reaches two pixels to either side, of the coarser grid.
    x, y = (
        math.ceil(2 * max(1, old / new)) + 1
        for old, new in zip((width, height), scale, strict=True)
    )
    image = Image.fromarray(
        cv2.copyMakeBorder(img, y, y, x, x, cv2.BORDER_REFLECT)
    )
    # Values are rounded and cut off at 0 and 255 between the axes. Of
    # MATLAB's the one with the smaller factor comes first.
    rows_first = scale[1] / height <= scale[0] / width
    for rows in (rows_first, not rows_first):
        if rows:
            size = image.width, scale[1]
            box = 0, y, image.width, y + height
        else:
            size = scale[0], image.height
            box = x, 0, x + width, image.height
        image = image.resize(size, Image.Resampling.BICUBIC, box=box)
    return np.array(image)
