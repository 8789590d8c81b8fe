import os.path as osp
import zipfile
from typing import NamedTuple

import mmengine
import numpy as np
import torch
from torch import Tensor

__all__ = ['FeatureSet', 'load_features', 'save_features']

# The arrays of a file, as rank_metrics names its arguments, and what
# kinds of numbers they hold.
_FIELDS = dict(features='f', ids='iu', cams='iu')


class FeatureSet(NamedTuple):
    """Features of the images of one side, with their labels.

    Attributes:
        features (Tensor): Shape (N, D).
        person_id (Tensor): Shape (N,).
        camera_id (Tensor, optional): Shape (N,). Defaults to None.
    """

    features: Tensor
    person_id: Tensor
    camera_id: Tensor | None = None

    def take(self, index: Tensor) -> 'FeatureSet':
        """Some of the images, by index or mask."""
        return FeatureSet(*(x if x is None else x[index] for x in self))

    def places(self) -> tuple[Tensor, Tensor]:
        """Images by (person, camera), without cameras by person.

        Returns:
            tuple[Tensor, Tensor]: The first image of each place, in order
            of first appearance, and each image's place, (N,).
        """
        labels = [x for x in self[1:] if x is not None]
        _, place = torch.stack(labels, 1).unique(dim=0, return_inverse=True)
        num = int(place.max()) + 1
        index = torch.arange(len(place), device=place.device)
        first = index.new_full((num,), len(place)).scatter_reduce(
            0, place, index, 'amin'
        )
        order = first.argsort()
        return first[order], order.argsort()[place]


def save_features(path: str, query: FeatureSet, gallery: FeatureSet) -> None:
    """Write both sides to a ``.npz`` file.

    Its arrays are the arguments of :func:`mmreid.evaluation.rank_metrics`:
    ``query_features``, ``query_ids``, ``query_cams`` and the same of the
    gallery.

    Args:
        path (str): The file; its folder is made.
        query (FeatureSet): Query images.
        gallery (FeatureSet): Gallery images.
    """
    mmengine.mkdir_or_exist(osp.dirname(osp.abspath(path)))
    arrays = {
        f'{side}_{field}': value.cpu().numpy()
        for side, images in (('query', query), ('gallery', gallery))
        for field, value in zip(_FIELDS, images, strict=True)
        if value is not None
    }
    # By a handle, for NumPy would add .npz to a name without it.
    with open(path, 'wb') as file:
        np.savez(file, **arrays)


def load_features(path: str) -> tuple[FeatureSet, FeatureSet]:
    """Read what :func:`save_features` wrote, or anybody's file like it.

    Args:
        path (str): A ``.npz`` file with ``query_features`` (Q, D),
            ``query_ids`` (Q,) and ``query_cams`` (Q,), and the same of the
            gallery. Both ``_cams`` may be missing.

    Returns:
        tuple[FeatureSet, FeatureSet]: Query and gallery images.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no ``.npz`` file, or an array is missing or of
            another type.
    """
    if not osp.isfile(path):
        raise FileNotFoundError(f"The features '{path}' do not exist.")
    sides = []
    try:
        # Without pickle, by which a file could run any code.
        file = np.load(path, allow_pickle=False)
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise ValueError
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"'{path}' is no .npz file: write one by np.savez(path, "
            'query_features=..., gallery_features=..., query_ids=..., '
            'gallery_ids=..., query_cams=..., gallery_cams=...).'
        ) from error
    with file:
        names = [f'{s}_{f}' for s in ('query', 'gallery') for f in _FIELDS]
        missing = [n for n in names if n not in file and 'cams' not in n]
        if missing:
            raise ValueError(
                f"'{path}' lacks {', '.join(missing)}: expected the arrays "
                f'{", ".join(names)}, got {", ".join(file) or "none"}.'
            )
        if ('query_cams' in file) != ('gallery_cams' in file):
            raise ValueError(
                f"'{path}' has the cameras of one side only: expected "
                'query_cams and gallery_cams, or neither.'
            )
        for side in ('query', 'gallery'):
            values = []
            for field, kinds in _FIELDS.items():
                name = f'{side}_{field}'
                if name in file:
                    values.append(_read(file, path, name, kinds))
            sides.append(FeatureSet(*values))
    return tuple(sides)


def _read(file, path: str, name: str, kinds: str) -> Tensor:
    """One array of a ``.npz`` file.

    Raises:
        ValueError: If it is of another kind.
    """
    try:
        array = file[name]
    except ValueError as error:  # objects
        raise ValueError(
            f"{name} of '{path}' holds objects: store plain numbers."
        ) from error
    if array.dtype.kind not in kinds:
        expected = 'floating point' if kinds == 'f' else 'integers'
        raise ValueError(
            f"{name} of '{path}' must be {expected}, got {array.dtype}."
        )
    if kinds == 'f':
        return torch.from_numpy(array)
    return torch.from_numpy(array.astype(np.int64))
