"""A work dir belongs to one run."""

import errno
import fcntl
import json
import os
import os.path as osp
import socket
from typing import IO

from mmreid.errors import InputError

from .checkpoint import RESUMABLE, files_of
from .files import write_json

# The locks of this process, which hold until it ends.
_locks: dict[str, IO] = {}


def claim_work_dir(
    work_dir: str, resume: bool = False, overwrite: bool = False
) -> None:
    """Take a work dir for this process, until it ends.

    The lock is the system's (POSIX), so it does not outlive the process,
    however that ends.

    Args:
        work_dir (str): The folder; it is made.
        resume (bool): Whether the checkpoints in it are gone on from.
            Defaults to False.
        overwrite (bool): Whether to remove them. Defaults to False.

    Raises:
        InputError: If another live process has it; or if it holds the
            checkpoints of an earlier run, without ``resume`` or
            ``overwrite``.
        OSError: If it cannot be written to.
    """
    path = osp.join(work_dir, '.lock')
    key = osp.realpath(path)
    if key not in _locks:
        os.makedirs(work_dir, exist_ok=True)
        lock = open(path, 'a+', encoding='utf-8')
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            lock.seek(0)
            raise InputError(
                f"The work dir '{work_dir}' is in use by "
                f'{lock.read().strip() or "another process"}: wait for it, or '
                'name another --work-dir.'
            ) from error
        lock.truncate(0)
        lock.write(f'process {os.getpid()} on {socket.gethostname()}')
        lock.flush()
        _locks[key] = lock
    if resume:
        return
    earlier = files_of(work_dir, *RESUMABLE, 'stage_*.pth')
    if earlier and not overwrite:
        names = ', '.join(map(osp.basename, earlier[:4]))
        raise InputError(
            f"The work dir '{work_dir}' holds checkpoints of an earlier run "
            f'({names}{", ..." if len(earlier) > 4 else ""}): go on from '
            'them by --resume, remove them by --overwrite, or name another '
            '--work-dir.'
        )
    for file in earlier:
        os.remove(file)


def keep(content: dict, path: str, hint: str) -> None:
    """Write a file, or check that an earlier run wrote the same.

    Args:
        content (dict): What to write.
        path (str): The file.
        hint (str): For the error: what else the work dir was used for.

    Raises:
        InputError: If the file holds something else.
    """
    content = json.loads(json.dumps(content, default=str))
    if not osp.exists(path):
        write_json(content, path)
        return
    try:
        with open(path, encoding='utf-8') as file:
            found = dict(json.load(file))
    except (ValueError, TypeError) as error:
        raise InputError(
            f"'{path}' is no settings of a run, a JSON object: remove it, or "
            'name another --work-dir.'
        ) from error
    differing = [k for k in content if content[k] != found.get(k)]
    if differing:
        raise InputError(
            f"'{path}' was written {hint}: {', '.join(differing)} differ. "
            'Name another --work-dir, or empty this one.'
        )


def portable(value: object) -> object:
    """A part of a config as it is compared between two runs.

    Of paths only the last name counts: data and weights may move between a
    run and its resumption, yet another name is likely to be something else.
    The split is left out, which the tool itself sets.
    """
    if isinstance(value, dict):
        return {
            key: portable(part)
            for key, part in value.items()
            if key not in ('split_file', 'split_index')
        }
    if isinstance(value, list | tuple):
        return [portable(part) for part in value]
    if isinstance(value, str):
        return osp.basename(osp.normpath(value))
    return value
