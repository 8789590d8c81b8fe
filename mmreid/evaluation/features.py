import os.path as osp
import zipfile
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from mmreid.errors import InputError
from mmreid.structures import FeatureSet
from mmreid.structures.feature_set import (
    check_features,
    check_labels,
    check_paths,
)
from mmreid.utils.files import whole_file

__all__ = ['load_features', 'load_training_features', 'save_features']

# The arrays of a file, as rank_metrics names its arguments, with the field of
# a FeatureSet and the kinds of values that they hold.
_FIELDS = dict(
    features=('features', 'f'),
    ids=('person_id', 'iu'),
    cams=('camera_id', 'iu'),
    paths=('paths', 'U'),
)
_NEEDED = ('features', 'ids')
_KINDS = dict(f='floating point', iu='integers', U='text')


def save_features(
    path: str,
    query: FeatureSet,
    gallery: FeatureSet,
    training: FeatureSet | None = None,
) -> None:
    """Write both sides to a ``.npz`` file.

    Its arrays are the arguments of :func:`mmreid.evaluation.rank_metrics`:
    ``query_features``, ``query_ids``, ``query_cams`` and the same of the
    gallery; and ``query_paths`` and ``gallery_paths``, which are text, where
    the paths are known. Of training images, whose camera means can be
    subtracted, it has ``train_features``, ``train_cams`` and ``train_paths``:
    never a person.

    Args:
        path (str): The file; its folder is made.
        query (FeatureSet): Query images.
        gallery (FeatureSet): Gallery images.
        training (FeatureSet, optional): Training images. Defaults to None.

    Raises:
        InputError: If the persons of a side are unknown.
    """
    sides = dict(query=query, gallery=gallery)
    if training is not None:
        sides['train'] = training
    arrays: dict[str, Any] = {}
    for side, images in sides.items():
        arrays[f'{side}_features'] = images.features.cpu().numpy()
        if side != 'train':
            arrays[f'{side}_ids'] = images.known_person_id().cpu().numpy()
        if images.camera_id is not None:
            arrays[f'{side}_cams'] = images.camera_id.cpu().numpy()
        if images.paths is not None:
            arrays[f'{side}_paths'] = np.array(images.paths, dtype=np.str_)
    # By a handle, for NumPy would add .npz to a name without it.
    with whole_file(path) as file:
        np.savez(file, **arrays)


def _open(path: str) -> np.lib.npyio.NpzFile:
    """Open a ``.npz`` file.

    Raises:
        FileNotFoundError: If there is no such file.
        InputError: If it is no ``.npz`` file.
    """
    if not osp.isfile(path):
        raise FileNotFoundError(f"The features '{path}' do not exist.")
    try:
        # Without pickle, by which a file could run any code.
        file = np.load(path, allow_pickle=False)
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise ValueError
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"'{path}' is no .npz file: write one by np.savez(path, "
            'query_features=..., gallery_features=..., query_ids=..., '
            'gallery_ids=..., query_cams=..., gallery_cams=...).'
        ) from error
    return file


def load_features(path: str) -> tuple[FeatureSet, FeatureSet]:
    """Read what :func:`save_features` wrote, or anybody's file like it.

    Args:
        path (str): A ``.npz`` file with ``query_features`` (Q, D),
            ``query_ids`` (Q,), ``query_cams`` (Q,) and ``query_paths`` (Q,),
            and the same of the gallery. Both ``_cams`` may be missing, and
            any ``_paths``.

    Returns:
        tuple[FeatureSet, FeatureSet]: Query and gallery images.

    Raises:
        FileNotFoundError: If there is no such file.
        InputError: If it is no ``.npz`` file, or an array is missing or of
            another type or length.
    """
    with _open(path) as file:
        missing = [
            f'{side}_{field}'
            for side in ('query', 'gallery')
            for field in _NEEDED
            if f'{side}_{field}' not in file
        ]
        if missing:
            raise InputError(
                f"'{path}' lacks {', '.join(missing)}: expected the arrays "
                'query_features, query_ids, query_cams, gallery_features, '
                f'gallery_ids, gallery_cams, got {", ".join(file) or "none"}.'
            )
        if ('query_cams' in file) != ('gallery_cams' in file):
            raise InputError(
                f"'{path}' has the cameras of one side only: expected "
                'query_cams and gallery_cams, or neither.'
            )
        return _side(file, path, 'query'), _side(file, path, 'gallery')


def load_training_features(path: str) -> FeatureSet:
    """Read the training images of a file, for their camera means.

    Args:
        path (str): A ``.npz`` file with ``train_features`` (N, D) and
            ``train_cams`` (N,).

    Returns:
        FeatureSet: The images, without persons.

    Raises:
        FileNotFoundError: If there is no such file.
        InputError: If it is no ``.npz`` file, or an array is missing or of
            another type or length.
    """
    with _open(path) as file:
        needed = ('train_features', 'train_cams')
        missing = [name for name in needed if name not in file]
        if missing:
            raise InputError(
                f"'{path}' has no {' and no '.join(missing)}, of which "
                'camera means would be taken: add them (tools/test.py '
                '--camera-mean --save-features writes both), or take the '
                "means of the gallery's own images, --camera-mean gallery."
            )
        return replace(_side(file, path, 'train'), person_id=None)


def _side(file: np.lib.npyio.NpzFile, path: str, side: str) -> FeatureSet:
    """The images of one side of a ``.npz`` file.

    Raises:
        InputError: If an array is of another type or length.
    """
    values: dict[str, Any] = {}
    for name, (field, kinds) in _FIELDS.items():
        key = f'{side}_{name}'
        if key not in file:
            continue
        array = _read(file, path, key, kinds)
        title = f"{key} of '{path}'"
        if field == 'features':
            features = values[field] = torch.from_numpy(array)
            check_features(title, features)
        elif field == 'paths':
            values[field] = array.tolist()
            check_paths(title, values[field], len(features))
        else:
            values[field] = torch.from_numpy(array.astype(np.int64))
            check_labels(title, values[field], len(features))
    return FeatureSet(**values)


def _read(
    file: np.lib.npyio.NpzFile, path: str, name: str, kinds: str
) -> np.ndarray:
    """One array of a ``.npz`` file.

    Raises:
        InputError: If it is of another kind.
    """
    try:
        array = file[name]
    # NumPy and zipfile raise what not at changed bytes.
    except Exception as error:
        if 'allow_pickle' in str(error):
            raise InputError(
                f"{name} of '{path}' holds objects: store plain numbers or "
                'text.'
            ) from error
        raise InputError(
            f"{name} of '{path}' cannot be read, the file is damaged "
            f'({error}): write it again.'
        ) from error
    wide = array.dtype.kind == 'f' and array.dtype.itemsize > 8
    if array.dtype.kind not in kinds or wide:
        raise InputError(
            f"{name} of '{path}' must be {_KINDS[kinds]}"
            f'{", of 64 bits at most" * wide}, got {array.dtype}.'
        )
    # PyTorch knows the machine's own order of bytes alone.
    return array.astype(array.dtype.newbyteorder('='), copy=False)
