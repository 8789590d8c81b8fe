"""Feature sets out of arrays, for tests."""

import torch

from mmreid.structures import FeatureSet


def sides(
    query_features,
    gallery_features,
    query_ids=None,
    gallery_ids=None,
    query_cams=None,
    gallery_cams=None,
):
    """Query and gallery set of what ``rank_metrics`` takes."""

    def tensor(values):
        return values if values is None else torch.as_tensor(values)

    return (
        FeatureSet(*map(tensor, (query_features, query_ids, query_cams))),
        FeatureSet(
            *map(tensor, (gallery_features, gallery_ids, gallery_cams))
        ),
    )


def labelled(query_ids, gallery_ids, *cams):
    """Sets whose images have labels but no features, of no columns."""
    features = (torch.empty(len(ids), 0) for ids in (query_ids, gallery_ids))
    return sides(*features, query_ids, gallery_ids, *cams)
