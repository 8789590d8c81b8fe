"""VIPeR."""

from mmreid.registry import DATASETS

from .base import Record
from .random_splits import RandomSplitDataset

FOLDERS = ('cam_a', 'cam_b')


@DATASETS.register_module()
class VIPeR(RandomSplitDataset):
    """VIPeR (Gray and Tao, ECCV 2008): 632 persons, 2 cameras, 1,264 images.

    The folder ``VIPeR`` with ``cam_a`` and ``cam_b``, one image per person in
    each. The person is the three-digit prefix of the name; what follows is
    the viewing angle, which differs between the cameras. With ``split_file``,
    'train' is one half of the persons and 'query' (cam_a) and 'gallery'
    (cam_b) are the other, 316 and 316. Without, 'train' is all of it,
    'query' is cam_a and 'gallery' cam_b: do not train and test on that
    together. See :class:`RandomSplitDataset` for the arguments.
    """

    METAINFO = dict(
        dataset_name='viper',
        num_cameras=2,
        pattern='PPP_ANGLE.bmp, such as 000_45.bmp',
    )
    cameras = (0, 1)
    name_regex = r'(?P<person>\d{3})_\d+\.'
    official_folders = ('VIPeR',)

    def load_all_records(self, split: str) -> list[Record]:
        cameras = dict(train=(0, 1), query=(0,), gallery=(1,))[split]
        return [
            record
            for camera in cameras
            for record in self.scan(self.locate(FOLDERS[camera]), camera)
        ]
