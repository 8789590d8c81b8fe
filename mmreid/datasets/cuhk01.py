"""CUHK01."""

from mmreid.errors import InputError
from mmreid.registry import DATASETS

from .base import Record
from .random_splits import RandomSplitDataset


@DATASETS.register_module()
class CUHK01(RandomSplitDataset):
    """CUHK01 (Li et al., ACCV 2012): 971 persons, 2 cameras, 3,884 images.

    The folder ``campus`` with two shots per person and camera: 001 and 002
    of camera A, 003 and 004 of camera B. With ``split_file``, 'train' is all
    images of one half of the persons, 485, and 'query' (camera A) and
    'gallery' (camera B) are the other 486. Without, 'train' is all of it,
    'query' is camera A and 'gallery' camera B: do not train and test on that
    together.

    Args:
        *args: See :class:`RandomSplitDataset`.
        shots (str): How the splits test: 'single', on one image of each
            person and camera, drawn at random into the split file, 486
            queries and 486 gallery images; or 'multi', on both, 972 and 972.
            Without ``split_file`` both are there. Defaults to 'single'.
        **kwargs: See :class:`RandomSplitDataset`.

    Raises:
        InputError: If ``shots`` is neither, or not that of ``split_file``.
    """

    METAINFO = dict(
        dataset_name='cuhk01',
        num_cameras=2,
        pattern='PPPPNNN.png with shot NNN from 001 to 004, such as '
        '0001001.png',
    )
    cameras = (0, 1)
    name_regex = r'(?P<person>\d{4})00(?P<camera>[1-4])\.'
    path_parts = 1  # both views are in one folder, of any name

    def __init__(self, *args, shots: str = 'single', **kwargs) -> None:
        if shots not in ('single', 'multi'):
            raise InputError(
                f"shots of CUHK01 must be 'single' or 'multi', got '{shots}'."
            )
        self.shots = shots
        super().__init__(*args, **kwargs)

    def load_all_records(self, split: str) -> list[Record]:
        folder = self.locate('campus', '.')
        shots = dict(train=(1, 2, 3, 4), query=(1, 2), gallery=(3, 4))[split]
        return [
            record._replace(camera_id=(record.camera_id - 1) // 2)
            for record in self.scan(folder)
            if record.camera_id in shots
        ]
