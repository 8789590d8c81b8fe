"""Loading of one crop, with an error that names the file."""

import cv2
import mmcv
import numpy as np
from mmcv.transforms import BaseTransform

from mmreid.registry import TRANSFORMS


class UnreadableImageError(OSError):
    """An image file that cannot be decoded; the message names it."""


@TRANSFORMS.register_module()
class LoadReIDImage(BaseTransform):
    """Decode an image file to BGR.

    Required keys: ``img_path``. Added keys: ``img``, a uint8 array of shape
    (H, W, 3) in BGR order, ``img_shape`` and ``ori_shape``, both (H, W).

    Raises:
        UnreadableImageError: If the file is missing, empty, cut off, or no
            image.
    """

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

    @staticmethod
    def _decode(content: bytes) -> np.ndarray:
        if not content:
            raise ValueError('the file is empty')
        # OpenCV 4 fills the missing part of a cut off JPEG with grey and says
        # nothing, so look for the end-of-image marker, which coded image data
        # cannot contain. It is at or near the end.
        if content[:2] == b'\xff\xd8' and content.rfind(b'\xff\xd9') < 0:
            raise ValueError('the JPEG data is cut off')
        img = mmcv.imfrombytes(content, flag='color', backend='cv2')
        if img is None:
            raise ValueError('OpenCV cannot decode it as an image')
        return img
