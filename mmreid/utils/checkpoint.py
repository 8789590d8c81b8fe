"""Read checkpoints: whole, and of values and tensors only."""

import glob
import os
import os.path as osp
import pickle
import re
import zipfile
from typing import Any
from urllib.parse import urlparse

import mmengine.runner.checkpoint
import torch
from mmengine.fileio import LocalBackend, register_backend
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor

from mmreid.errors import InputError

from .files import whole_file

# Of these training can go on; stage_<name>.pth have weights alone.
RESUMABLE = ('epoch_*.pth', 'iter_*.pth', 'interrupted.pth')
DOS_FOLDER = 0x10
# The backend_args by which MMEngine writes with the class below.
WHOLE_FILES = dict(backend='whole')


@register_backend('whole')
class WholeFileBackend(LocalBackend):
    """Writes files that a kill leaves whole or not at all."""

    def put(self, obj: bytes, filepath: str) -> None:
        """Write bytes to a file, see ``whole_file``."""
        with whole_file(str(filepath)) as file:
            file.write(obj)


# MMEngine's own lets through whatever the reading of a damaged file raises.
@CheckpointLoader.register_scheme(prefixes='', force=True)
def load_from_local(filename: str, map_location: Any = None) -> dict:
    """Load a checkpoint file of plain values and tensors.

    Its records are compared with the checksums that PyTorch stored.

    Args:
        filename (str): The file.
        map_location: See :func:`torch.load`. Defaults to None.

    Returns:
        dict: The checkpoint.

    Raises:
        FileNotFoundError: If there is no such file.
        InputError: If it is damaged, or holds pickled objects.
    """
    filename = osp.expanduser(filename)
    if not osp.isfile(filename):
        raise FileNotFoundError(f"The checkpoint '{filename}' does not exist.")
    check_whole(filename)
    return _load(filename, map_location=map_location)


def load_state_dict(filename: str) -> dict[str, Tensor]:
    """Load the weights of a network, to rename them.

    Args:
        filename (str): A state dict, or a checkpoint with one as
            ``state_dict``.

    Returns:
        dict[str, Tensor]: On the CPU, without the ``module.`` that
        ``DataParallel`` puts before each name.

    Raises:
        FileNotFoundError: If there is no such file.
        InputError: If it is damaged, or holds no state dict.
    """
    content = load_from_local(filename, map_location='cpu')
    if isinstance(content, dict):
        content = content.get('state_dict', content)
    if not isinstance(content, dict) or not all(
        isinstance(value, Tensor) for value in content.values()
    ):
        raise InputError(
            f"'{filename}' is no state dict: expected names and tensors, or "
            "these under 'state_dict'; save the network's state_dict()."
        )
    return {k.removeprefix('module.'): v for k, v in content.items()}


def load_from_url(
    url: str,
    model_dir: str | None = None,
    map_location: Any = None,
    progress: bool = True,
) -> dict:
    """Download a checkpoint once, and load it like any other file.

    Args:
        url (str): Its address.
        model_dir (str, optional): Where it is kept. Defaults to None, the
            folder of :mod:`torch.hub`.
        map_location: See :func:`torch.load`. Defaults to None.
        progress (bool): Whether to show the download. Defaults to True.

    Returns:
        dict: The checkpoint.

    Raises:
        OSError: If it cannot be downloaded.
        InputError: If it is damaged, or holds pickled objects.
    """
    folder = model_dir or osp.join(torch.hub.get_dir(), 'checkpoints')
    name = osp.basename(urlparse(url).path)
    file = osp.join(folder, name)
    if not osp.isfile(file):
        # Names such as resnet50-0676ba61.pth hold the start of a SHA-256.
        found = re.search(r'-([a-f0-9]{8,})\.', name)
        os.makedirs(folder, exist_ok=True)
        try:
            torch.hub.download_url_to_file(
                url, file, found and found[1], progress
            )
        # Of the address, the network, the hash.
        except (OSError, ValueError, RuntimeError) as error:
            raise OSError(
                f"The checkpoint '{url}' cannot be downloaded: {error}. "
                f"Where there is no network, copy it to '{file}'."
            ) from error
    return load_from_local(file, map_location)


# Through this name all of MMEngine's remote loaders go (http, torchvision,
# open-mmlab, mmcls). Its own reads any pickle.
mmengine.runner.checkpoint.load_url = load_from_url


def check_whole(filename: str) -> None:
    """Compare the records of a checkpoint with their checksums.

    PyTorch stores a CRC-32 with each record, and does not look at it when it
    loads. Files in its format from before 1.6 have none, and pass.

    Args:
        filename (str): The file.

    Raises:
        InputError: If a byte has changed.
    """
    with open(filename, 'rb') as raw:
        try:
            if not zipfile.is_zipfile(raw):
                return
            with zipfile.ZipFile(raw) as file:
                # PyTorch leaves the tensor of a "folder" as memory had it.
                folders = [
                    info.filename
                    for info in file.infolist()
                    if info.external_attr & DOS_FOLDER
                ]
                wrong = file.testzip() or ', '.join(folders)
        # A changed header leads to anything.
        except Exception as error:
            wrong = str(error)
    if wrong:
        raise InputError(
            f"The checkpoint '{filename}' is damaged (the checksum of "
            f"'{wrong}' is wrong): copy it again, or name another one."
        )


def _load(filename: str, **options: Any) -> dict:
    try:
        return torch.load(filename, **options)
    except OSError:
        raise
    # Torch has no class for it: a text file raises a KeyError, an empty one
    # an EOFError, a cut off one a RuntimeError.
    except Exception as error:
        # A whole file that is refused holds something else than tensors.
        if isinstance(error, pickle.UnpicklingError) and (
            zipfile.is_zipfile(filename) or 'GLOBAL' in str(error)
        ):
            raise InputError(
                f"The checkpoint '{filename}' holds pickled objects, which "
                'could run any code when loaded, so only tensors are read by '
                'default. If you trust its origin, set '
                'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1.'
            ) from error
        raise InputError(
            f"The checkpoint '{filename}' cannot be read: it is damaged or no "
            'checkpoint of torch. Copy it again, or name another one.'
        ) from error


def files_of(work_dir: str, *patterns: str) -> list[str]:
    """The files of a folder whose names match one of the patterns, sorted."""
    return sorted(
        file
        for pattern in patterns
        for file in glob.glob(osp.join(glob.escape(work_dir), pattern))
    )


def find_resumable(work_dir: str) -> tuple[str, str]:
    """Find the newest whole checkpoint of a run.

    The newest is that of the most iterations, whatever the files' times and
    names, and wherever the work dir has been moved.

    Args:
        work_dir (str): The run's work dir.

    Returns:
        str, str: Its path, and why it is taken, for the log.

    Raises:
        InputError: If there is none, with what is wrong with each file.
    """
    found, damaged = [], []
    for file in files_of(work_dir, *RESUMABLE):
        try:
            check_whole(file)
            # Tensors stay on the disk.
            content = _load(file, map_location='cpu', mmap=True)
            found.append((content['meta']['iter'], file))
        except (InputError, OSError, LookupError, TypeError) as error:
            damaged.append(f"'{file}' is passed over: {error}")
    if found:
        iteration, file = max(found)
        reason = f"Resumes from '{file}', iteration {iteration}"
        return file, '; '.join([reason, *damaged])
    raise InputError(
        f"There is nothing to resume in '{work_dir}': "
        + ('; '.join(damaged) or 'it holds no checkpoint of a training')
        + '. Check --work-dir, or leave out --resume to start afresh.'
    )
