"""Images without labels: files, folders or arrays."""

import os
from collections.abc import Callable, Sequence

import numpy as np
from torch.utils.data import Dataset

from mmreid.errors import InputError
from mmreid.registry import DATASETS, TRANSFORMS

from .base import IMAGE_SUFFIXES


def find_images(folder: str) -> list[str]:
    """The image files below a folder, at any depth, sorted by path.

    Hidden files and folders are left out. Links to folders are followed in
    ``folder`` itself, where people link what lies elsewhere.
    """
    found, places = [], [folder]
    for place in places:
        for inside, folders, names in os.walk(place):
            folders[:] = [name for name in folders if name[0] != '.']
            if inside == folder:
                links = [os.path.join(inside, name) for name in folders]
                places += filter(os.path.islink, links)
            found += [
                os.path.join(inside, name)
                for name in names
                if name.lower().endswith(IMAGE_SUFFIXES) and name[0] != '.'
            ]
    return sorted(found)


def list_images(inputs: Sequence[str]) -> list[str]:
    """The image files that files and folders name.

    Args:
        inputs (Sequence[str]): Image files, and folders that hold some, at
            any depth.

    Returns:
        list[str]: The files in the order of ``inputs``, those of a folder
        sorted by path. Hidden files and folders are left out.

    Raises:
        FileNotFoundError: If an input does not exist, or a folder holds no
            image.
    """
    found = []
    for path in map(os.fspath, inputs):
        if os.path.isfile(path):
            found.append(path)
            continue
        if not os.path.isdir(path):
            raise FileNotFoundError(
                f"The input '{path}' is neither a file nor a folder: name "
                'image files, or folders of them.'
            )
        inside = find_images(path)
        if not inside:
            raise FileNotFoundError(
                f"The folder '{path}' holds no image "
                f'({", ".join(IMAGE_SUFFIXES)}).'
            )
        found += inside
    return found


@DATASETS.register_module()
class ImageList(Dataset):
    """Images of unknown persons before unknown cameras.

    Args:
        images (Sequence[str | np.ndarray]): Image files, or images as OpenCV
            gives them: uint8 arrays (H, W, 3) in BGR order.
        pipeline (Sequence[dict | Callable]): Transforms, such as those of a
            test data set. One that loads is skipped for an array.

    Raises:
        InputError: If an array is no such image.
    """

    def __init__(
        self,
        images: Sequence[str | np.ndarray],
        pipeline: Sequence[dict | Callable],
    ) -> None:
        self.images = list(images)
        self.pipeline = [
            TRANSFORMS.build(t) if isinstance(t, dict) else t for t in pipeline
        ]
        for place, image in enumerate(self.images):
            if isinstance(image, np.ndarray) and (
                image.dtype != np.uint8
                or image.ndim != 3
                or image.shape[2] != 3
                or not image.size
            ):
                raise InputError(
                    f'Image {place} is a {image.dtype} array of shape '
                    f'{image.shape}, but must be uint8 (H, W, 3), in BGR '
                    'order.'
                )

    def __len__(self) -> int:
        return len(self.images)

    def get_data_info(self, idx: int) -> dict:
        """An entry; ``img_path`` of an array is ''."""
        image = self.images[idx]
        return dict(
            img_path='' if isinstance(image, np.ndarray) else image,
            is_query=0,
            sample_idx=idx,
        )

    def __getitem__(self, idx: int) -> dict:
        info, image = self.get_data_info(idx), self.images[idx]
        steps = self.pipeline
        if isinstance(image, np.ndarray):
            info.update(
                img=image, img_shape=image.shape[:2], ori_shape=image.shape[:2]
            )
            # As MMEngine's codebases name what reads a file.
            steps = [s for s in steps if not type(s).__name__[:4] == 'Load']
        for step in steps:
            info = step(info)
        return info
