"""Market-1501."""

from mmreid.registry import DATASETS

from .base import BaseReIDDataset, Record


@DATASETS.register_module()
class Market1501(BaseReIDDataset):
    """Market-1501 (Zheng et al., ICCV 2015): 1,501 persons, 6 cameras.

    The folder ``Market-1501-v15.09.15`` with ``bounding_box_train`` (12,936
    images of 751 persons), ``query`` (3,368) and ``bounding_box_test``
    (19,732 files, of which 15,913 stay without the 3,819 junk images of
    person -1; distractors are person 0). ``attribute_file`` is
    ``market_attribute.mat``, m = 27, or 30 with ``age='one_hot'``. See
    :class:`BaseReIDDataset` for the arguments.
    """

    METAINFO = dict(
        dataset_name='market1501',
        num_cameras=6,
        pattern='PPPP_cCsS_FFFFFF_BB.jpg, such as 0002_c1s1_000451_03.jpg',
    )
    cameras = range(1, 7)
    name_regex = r'(?P<person>-1|\d+)_c(?P<camera>[1-6])s\d+_\d+_\d+'
    official_folders = ('Market-1501-v15.09.15',)
    attribute_kind = 'market'

    def load_records(self, split: str) -> list[Record]:
        folder = dict(
            train='bounding_box_train',
            query='query',
            gallery='bounding_box_test',
        )[split]
        return self.scan(self.locate(folder))
