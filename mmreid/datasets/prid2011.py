"""PRID-2011, single shot."""

from mmreid.registry import DATASETS

from .base import Record
from .random_splits import RandomSplitDataset

FOLDERS = ('cam_a', 'cam_b')
NUM_SHARED = 200  # persons 1 to 200 are the same in both views


@DATASETS.register_module()
class PRID2011(RandomSplitDataset):
    """PRID-2011, single shot (Hirzer et al., SCIA 2011): 2 cameras.

    The folder ``single_shot`` with ``cam_a`` (385 persons) and ``cam_b``
    (749), one image each. Only persons 1 to 200 are the same in both views;
    beyond, a number means different persons. With ``split_file``, 'train' is
    100 shared persons in both views, 'query' the other 100 of view A and
    'gallery' the 649 of view B that are not trained on. Without, 'train' is
    the shared persons in both views, 'query' those of view A and 'gallery'
    all of view B: do not train and test on that together. See
    :class:`RandomSplitDataset` for the arguments.
    """

    METAINFO = dict(
        dataset_name='prid2011',
        num_cameras=2,
        pattern='person_PPPP.png, such as person_0001.png',
    )
    cameras = (0, 1)
    name_regex = r'person_(?P<person>\d{4})\.'
    official_folders = ('single_shot', 'prid_2011/single_shot')

    def load_all_records(self, split: str) -> list[Record]:
        cameras = dict(train=(0, 1), query=(0,), gallery=(1,))[split]
        return [
            record
            for camera in cameras
            for record in self.scan(self.locate(FOLDERS[camera]), camera)
            if split == 'gallery' or record.person_id <= NUM_SHARED
        ]
