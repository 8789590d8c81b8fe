import hashlib
import os

from .base import BaseReIDDataset


def fingerprint(dataset: BaseReIDDataset) -> dict:
    """Say which images a data set holds, to compare two runs.

    Args:
        dataset (BaseReIDDataset): The data set.

    Returns:
        dict: ``dataset`` and ``split``; ``num_images``, ``num_identities``
        (0 where it is unlabelled) and ``num_cameras``; and ``sha256`` of the
        list of its files, sorted, relative to its root.
    """
    paths = sorted(
        os.path.relpath(
            dataset.get_data_info(index)['img_path'], dataset.data_root
        )
        for index in range(len(dataset))
    )
    return dict(
        dataset=dataset.metainfo['dataset_name'],
        split=dataset.split,
        num_images=len(dataset),
        num_identities=dataset.num_identities if dataset.labelled else 0,
        num_cameras=dataset.num_cameras,
        sha256=hashlib.sha256('\n'.join(paths).encode()).hexdigest(),
    )
