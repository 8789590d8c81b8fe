"""Market-1501."""

import os

from mmreid.registry import DATASETS

from .base import BaseReIDDataset, Record, first_three


@DATASETS.register_module()
class Market1501(BaseReIDDataset):
    """Market-1501 (Zheng et al., ICCV 2015): 1,501 persons, 6 cameras.

    The folder ``Market-1501-v15.09.15`` with ``bounding_box_train`` (12,936
    images of 751 persons), ``query`` (3,368) and ``bounding_box_test``
    (19,732 files, of which 15,913 stay without the 3,819 junk images of
    person -1; distractors are person 0). ``attribute_file`` is
    ``market_attribute.mat``, m = 27, or 30 with ``age='one_hot'``.

    Args:
        *args: See :class:`BaseReIDDataset`.
        multi_query (bool): Whether the queries are, instead of the images of
            ``query``, all hand-drawn boxes (``gt_bbox``) of the same persons
            and cameras. Those of one person and camera are one query, which
            the evaluation pools. Only read by 'query' and 'test'. Defaults
            to False.
        **kwargs: See :class:`BaseReIDDataset`.

    Raises:
        FileNotFoundError: With ``multi_query``, if ``gt_bbox`` is missing or
            lacks a person and camera of ``query``.
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

    def __init__(self, *args, multi_query: bool = False, **kwargs) -> None:
        self.multi_query = multi_query
        super().__init__(*args, **kwargs)

    def load_records(self, split: str) -> list[Record]:
        folder = dict(
            train='bounding_box_train',
            query='query',
            gallery='bounding_box_test',
        )[split]
        records = self.scan(self.locate(folder))
        if split == 'query' and self.multi_query:
            return self._boxes_of(records)
        return records

    def _boxes_of(self, queries: list[Record]) -> list[Record]:
        """The hand-drawn boxes of the queries' persons and cameras."""
        folder = os.path.join(os.path.dirname(queries[0].path), '../gt_bbox')
        folder = os.path.normpath(folder)
        if not os.path.isdir(folder):
            raise FileNotFoundError(
                f"Market1501 with multi_query=True needs '{folder}', the "
                "official archive's hand-drawn boxes: unpack it, or set "
                'multi_query=False.'
            )
        views = {query[1:] for query in queries}
        boxes = [box for box in self.scan(folder) if box[1:] in views]
        absent = sorted(views.difference(box[1:] for box in boxes))
        if absent:
            raise FileNotFoundError(
                f"Market1501: '{folder}' has no image of {len(absent)} of the "
                f'{len(views)} persons and cameras of the queries: '
                f'{first_three([f"{p:04d}_c{c}" for p, c in absent])}; '
                'unpack the archive again.'
            )
        return boxes
