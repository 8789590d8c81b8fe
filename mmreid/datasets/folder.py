"""Crops in folders, as cameras leave them."""

import os
import re
from collections import Counter
from pathlib import Path

from mmengine.logging import print_log

from mmreid.errors import InputError
from mmreid.registry import DATASETS

from .base import IMAGE_SUFFIXES, BaseReIDDataset, Record, first_three
from .image_list import find_images

ONE_CAMERA = 'camera'


@DATASETS.register_module()
class ReIDFolder(BaseReIDDataset):
    """Images below a folder, of which at most the camera is known.

    Which camera an image is from,

    - the first folder below ``data_root`` says; images may lie at any depth
      below it;
    - or ``pattern`` says;
    - or nothing does: if all images lie in ``data_root`` itself, they are of
      one camera, and the log says so.

    All images are 'train': without labels there is nothing to test. Hidden
    files and folders are left out. The cameras' names, in the order of their
    ids, are in ``metainfo['camera_names']``.

    Args:
        data_root (str): The folder.
        pattern (str, optional): Regular expression with a group ``camera``,
            searched in the path below ``data_root``, such as
            ``r'_c(?P<camera>\\d+)_'``. A group ``person`` gives the identity,
            which is read with ``labelled=True`` only. Defaults to None.
        labelled (bool): Whether to keep identities, see
            :class:`BaseReIDDataset`. Defaults to False.
        **kwargs: See :class:`BaseReIDDataset`.

    Raises:
        FileNotFoundError: If there is no such folder, or no image in it.
        InputError: If the pattern is no regular expression with the groups
            that are needed, or does not match a path; if images lie beside
            the cameras' folders; if identities are asked for that there are
            not; or for 'query', 'gallery' and 'test'.
    """

    METAINFO = dict(
        dataset_name='folder',
        num_cameras=0,  # known once the folder is read
        pattern='a folder per camera, or a pattern',
    )

    def __init__(
        self,
        data_root: str,
        pattern: str | None = None,
        labelled: bool = False,
        **kwargs,
    ) -> None:
        self.pattern = None
        if pattern is not None:
            self.pattern = _compile(pattern, labelled)
        elif labelled:
            raise InputError(
                'ReIDFolder knows no identity without a pattern that has a '
                "group 'person': give one, or labelled=False. (What needs "
                "identities, such as a test or the mining's purity, cannot "
                'be had without.)'
            )
        if kwargs.get('val_identities') and not labelled:
            raise InputError(
                'ReIDFolder has no identities to validate on: leave '
                'val_identities out (target=dict(_delete_=True, ...) drops '
                'that of a base config).'
            )
        super().__init__(data_root, labelled=labelled, **kwargs)

    def load_records(self, split: str) -> list[Record]:
        if split != 'train':
            raise InputError(
                f"ReIDFolder has no {split}: all of '{self.data_root}' is "
                'for training. To test, list labelled crops in a '
                'ReIDManifest.'
            )
        if not os.path.isdir(self.data_root):
            raise FileNotFoundError(
                f"data_root '{self.data_root}' of ReIDFolder is no folder: "
                'set it to the folder of the crops.'
            )
        paths = self._find()
        named = self._match(paths) if self.pattern else self._folders(paths)
        names = sorted({camera for camera, _ in named})
        people = sorted({person for _, person in named})
        self.cameras = range(len(names))
        self._metainfo.update(num_cameras=len(names), camera_names=names)
        self._log(Counter(camera for camera, _ in named))
        camera_of = {name: i for i, name in enumerate(names)}
        person_of = {name: i for i, name in enumerate(people, start=1)}
        person_of[None] = None
        return [
            Record(
                os.path.join(self.data_root, path),
                person_of[person],
                camera_of[camera],
            )
            for path, (camera, person) in zip(paths, named, strict=True)
        ]

    def _find(self) -> list[str]:
        """The images' paths below ``data_root``, with '/'."""
        found = find_images(self.data_root)
        if not found:
            raise FileNotFoundError(
                f"data_root '{self.data_root}' of ReIDFolder holds no image "
                f'({", ".join(IMAGE_SUFFIXES)}), at any depth.'
            )
        absent = [path for path in found if not os.path.isfile(path)]
        if absent:
            raise FileNotFoundError(
                f"{len(absent)} of {len(found)} images in '{self.data_root}' "
                f'are links to nothing: {first_three(absent)}. Mend or remove '
                'them.'
            )
        return [
            Path(os.path.relpath(path, self.data_root)).as_posix()
            for path in found
        ]

    def _folders(self, paths: list[str]) -> list[tuple[str, None]]:
        """The camera of each image, by the first folder of its path."""
        beside = [path for path in paths if '/' not in path]
        if len(beside) == len(paths):
            return [(ONE_CAMERA, None)] * len(paths)
        if beside:
            raise InputError(
                f"{len(beside)} images lie in '{self.data_root}' itself, "
                f'beside folders of images: {first_three(beside)}. Move them '
                "into their camera's folder, or give a pattern that says the "
                'camera.'
            )
        return [(path.split('/')[0], None) for path in paths]

    def _match(self, paths: list[str]) -> list[tuple[str, str | None]]:
        """The camera and person of each image, by the pattern."""
        wanted = ['camera', 'person'] if self.labelled else ['camera']
        found, bad = [], []
        for path in paths:
            match = self.pattern.search(path)
            values = [match and match[name] for name in wanted]
            if None in values:
                bad.append(path)
            found.append((*values, None)[:2])
        if bad:
            raise InputError(
                f"pattern '{self.pattern.pattern}' of ReIDFolder gives no "
                f'{" or no ".join(wanted)} for {len(bad)} of the '
                f"{len(paths)} images in '{self.data_root}': "
                f'{first_three(bad)}. It is searched in these paths.'
            )
        return found

    def _log(self, count: Counter) -> None:
        text = f"{count.total()} images in '{self.data_root}', "
        if self.pattern is None and [*count] == [ONE_CAMERA]:
            text += (
                'taken for those of one camera: there is neither a folder per '
                'camera nor a pattern.'
            )
        else:
            shown = [f'{name} ({count[name]})' for name in sorted(count)]
            text += f'{len(count)} cameras: {", ".join(shown[:20])}'
            text += ', ...' if len(shown) > 20 else '.'
        print_log(text, logger='current')


def _compile(pattern: str, labelled: bool) -> re.Pattern:
    if not isinstance(pattern, str):
        raise InputError(
            f'pattern of ReIDFolder must be a string, got {pattern!r}. '
            "--cfg-options take one that begins with '(' or has a comma for "
            "a list: begin it with '.*?', or write it in a config."
        )
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise InputError(
            f"pattern '{pattern}' of ReIDFolder is no regular expression: "
            f'{error}.'
        ) from error
    for name in ('camera', 'person') if labelled else ('camera',):
        if name not in compiled.groupindex:
            raise InputError(
                f"pattern '{pattern}' of ReIDFolder has no group '{name}', "
                f"such as '(?P<{name}>[0-9]+)'."
                + (' labelled=True needs it.' if name == 'person' else '')
            )
    return compiled
