"""A work dir belongs to one run."""

import errno
import fcntl
import os
import os.path as osp
import socket
from typing import IO

from mmreid.errors import InputError

from .checkpoint import RESUMABLE, files_of

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
        file = open(path, 'a+', encoding='utf-8')
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            file.seek(0)
            raise InputError(
                f"The work dir '{work_dir}' is in use by "
                f'{file.read().strip() or "another process"}: wait for it, or '
                'name another --work-dir.'
            ) from error
        file.truncate(0)
        file.write(f'process {os.getpid()} on {socket.gethostname()}')
        file.flush()
        _locks[key] = file
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
