"""The end of every pipeline: one small tensor and a few integers."""

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform

from mmreid.registry import TRANSFORMS


@TRANSFORMS.register_module()
class PackReIDInputs(BaseTransform):
    """Pack an item so that it is cheap to hand from a worker to the loop.

    Required keys: ``img``, uint8 of shape (H, W, 3), ``sample_idx`` and
    ``is_query``. Optional keys: ``person_id`` and ``camera_id``, which images
    of unknown persons or cameras do not have, and ``attributes``.

    The result is ``dict(inputs, data_samples)``: ``inputs`` is a contiguous
    uint8 tensor of shape (3, H, W), in the channel order of ``img`` (BGR),
    and ``data_samples`` a dict of the integers ``sample_idx``, ``is_query``,
    ``skipped_idx`` and, where they are known, ``person_id`` and
    ``camera_id``. ``skipped_idx`` is -1, or the index of the unreadable image
    in whose place this one is delivered.
    MMEngine's ``default_collate`` makes int64 tensors of shape (N, ) of them.
    If there are ``attributes``, m integers, they become an int64 array of
    shape (m, ), and a tensor of shape (N, m).

    Raises:
        TypeError: If ``img`` is not uint8 with three channels.
    """

    def transform(self, results: dict) -> dict:
        img = results['img']
        if img.dtype != np.uint8 or img.ndim != 3 or img.shape[2] != 3:
            raise TypeError(
                'PackReIDInputs expects a uint8 image of shape (H, W, 3), '
                f'got {img.dtype} of shape {img.shape}: leave normalisation '
                'to the data preprocessor.'
            )
        # Plain integers: each tensor would cross the worker's queue as one
        # file descriptor of its own.
        data_samples = {
            key: int(results[key])
            for key in (
                *('sample_idx', 'is_query'),
                *(k for k in ('person_id', 'camera_id') if k in results),
            )
        }
        data_samples['skipped_idx'] = int(results.get('skipped_idx', -1))
        if 'attributes' in results:
            # An array: of a list, collating makes m tensors.
            data_samples['attributes'] = np.array(
                results['attributes'], np.int64
            )
        inputs = img.transpose(2, 0, 1)
        # An image of a cache is contiguous like this already. Others are
        # split, which takes OpenCV two thirds of NumPy's time for a copy.
        if not inputs.flags.c_contiguous:
            inputs = np.empty(inputs.shape, np.uint8)
            cv2.split(img, list(inputs))
        return dict(inputs=torch.from_numpy(inputs), data_samples=data_samples)
