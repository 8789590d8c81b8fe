"""DukeMTMC-reID."""

from mmreid.registry import DATASETS

from .base import BaseReIDDataset, Record


@DATASETS.register_module()
class DukeMTMCreID(BaseReIDDataset):
    """DukeMTMC-reID (Zheng et al., ICCV 2017): 8 cameras.

    The folder ``DukeMTMC-reID`` with ``bounding_box_train`` (16,522 images of
    702 persons), ``query`` (2,228) and ``bounding_box_test`` (17,661). Its
    authors have withdrawn the data: this is for those who hold it.
    ``attribute_file`` is ``duke_attribute.mat``, m = 23. See
    :class:`BaseReIDDataset` for the arguments.
    """

    METAINFO = dict(
        dataset_name='dukemtmc_reid',
        num_cameras=8,
        pattern='PPPP_cC_fFFFFFFF.jpg, such as 0001_c2_f0046182.jpg',
    )
    cameras = range(1, 9)
    name_regex = r'(?P<person>-1|\d+)_c(?P<camera>[1-8])_f\d+'
    official_folders = ('DukeMTMC-reID',)
    attribute_kind = 'duke'

    def load_records(self, split: str) -> list[Record]:
        folder = dict(
            train='bounding_box_train',
            query='query',
            gallery='bounding_box_test',
        )[split]
        return self.scan(self.locate(folder))
