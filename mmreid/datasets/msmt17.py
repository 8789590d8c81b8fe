"""MSMT17."""

import os
import re

from mmreid.errors import InputError
from mmreid.registry import DATASETS

from .base import BaseReIDDataset, Record, first_three


@DATASETS.register_module()
class MSMT17(BaseReIDDataset):
    """MSMT17 (Wei et al., CVPR 2018): 4,101 persons, 15 cameras.

    The folder ``MSMT17_V1`` with ``train`` and ``test``, or ``MSMT17_V2``
    with ``mask_train_v2`` and ``mask_test_v2`` (the same images with blurred
    faces), and in either ``list_train.txt``, ``list_val.txt``,
    ``list_query.txt`` and ``list_gallery.txt``. The training part is the
    train and the val list: 32,621 images of 1,041 persons in V1; 11,659
    query and 82,161 gallery images. See :class:`BaseReIDDataset` for the
    other arguments.

    Args:
        data_root (str): See :class:`BaseReIDDataset`.
        split (str): See :class:`BaseReIDDataset`. Defaults to 'train'.
        combine_all (bool): Whether the training part is all four lists:
            126,441 images of 4,101 persons in V1, MAR's auxiliary set. For
            the splits 'train' and 'val' only. Defaults to False.
        **kwargs: See :class:`BaseReIDDataset`.
    """

    METAINFO = dict(
        dataset_name='msmt17',
        num_cameras=15,
        pattern="'FOLDER/PPPP_III_CC_*.jpg PERSON_ID', such as "
        "'0000/0000_000_01_0303morning_0008_0.jpg 0'",
    )
    cameras = range(1, 16)
    name_regex = (
        r'(?P<path>(?:.*/)?[^/_]+_[^/_]+_(?P<camera>\d+)_\S*)'
        r'\s+(?P<person>\d+)$'
    )
    official_folders = ('MSMT17_V1', 'MSMT17_V2')

    def __init__(
        self,
        data_root: str,
        split: str = 'train',
        combine_all: bool = False,
        **kwargs,
    ) -> None:
        if combine_all and split not in ('train', 'val'):
            raise InputError(
                'MSMT17: combine_all=True trains on the test persons, so '
                f"split='{split}' has nothing left to test; use it with "
                "'train' or 'val'."
            )
        self.combine_all = combine_all
        super().__init__(data_root, split=split, **kwargs)

    @property
    def holds_test_images(self) -> bool:
        """bool: Whether the test's images are trained on."""
        return self.combine_all

    def load_records(self, split: str) -> list[Record]:
        if split != 'train':
            return self._read_list(f'list_{split}.txt', 'test')
        records = self._read_list('list_train.txt', 'train')
        records += self._read_list('list_val.txt', 'train')
        if self.combine_all:
            # The persons of the test lists are numbered from 0 again.
            offset = 1 + max(r.person_id for r in records)
            for name in ('list_query.txt', 'list_gallery.txt'):
                records += [
                    r._replace(person_id=r.person_id + offset)
                    for r in self._read_list(name, 'test')
                ]
        return records

    def _read_list(self, name: str, part: str) -> list[Record]:
        folder = self.locate(part, f'mask_{part}_v2')
        list_file = os.path.join(os.path.dirname(folder), name)
        if not os.path.isfile(list_file):
            raise FileNotFoundError(
                f"MSMT17 needs '{list_file}', which is part of the official "
                'archive.'
            )
        with open(list_file, encoding='utf-8') as file:
            lines = [line.strip() for line in file if line.strip()]
        matches = [re.match(self.name_regex, line) for line in lines]
        self.check_names(
            [x for x, m in zip(lines, matches, strict=True) if m is None],
            f"'{list_file}'",
        )
        records = [
            Record(
                os.path.join(folder, match['path']),
                int(match['person']),
                int(match['camera']),
            )
            for match in matches
        ]
        missing = [r.path for r in records if not os.path.isfile(r.path)]
        if missing:
            raise FileNotFoundError(
                f"MSMT17: {len(missing)} images of '{list_file}' are "
                f'missing: {first_three(missing)}; unpack the archive again.'
            )
        return records
