"""CUHK01."""

from mmreid.registry import DATASETS

from .base import BaseReIDDataset, Record


@DATASETS.register_module()
class CUHK01(BaseReIDDataset):
    """CUHK01 (Li et al., ACCV 2012): 971 persons, 2 cameras, 3,884 images.

    The folder ``campus`` with two shots per person and camera: 001 and 002
    of camera A, 003 and 004 of camera B. 'train' is all of it, 'query' is
    camera A and 'gallery' camera B: do not train and test on it together.
    See :class:`BaseReIDDataset` for the arguments.
    """

    METAINFO = dict(
        dataset_name='cuhk01',
        num_cameras=2,
        pattern='PPPPNNN.png with shot NNN from 001 to 004, such as '
        '0001001.png',
    )
    cameras = (0, 1)
    name_regex = r'(?P<person>\d{4})00(?P<camera>[1-4])\.'

    def load_records(self, split: str) -> list[Record]:
        folder = self.locate('campus', '.')
        shots = dict(train=(1, 2, 3, 4), query=(1, 2), gallery=(3, 4))[split]
        return [
            record._replace(camera_id=(record.camera_id - 1) // 2)
            for record in self.scan(folder)
            if record.camera_id in shots
        ]
