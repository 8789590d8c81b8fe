"""Who made this number: command, versions, source code."""

import os
import os.path as osp
import platform
import shlex
import subprocess
import sys
from importlib import metadata

from mmreid.version import __version__

PACKAGES = (
    *('torch', 'torchvision', 'mmengine', 'mmcv', 'mmcv-lite', 'mmpretrain'),
    *('numpy', 'scipy', 'opencv-python', 'opencv-python-headless', 'timm'),
)


def provenance() -> dict:
    """What one needs, beside config, seed and data, to repeat a run.

    Returns:
        dict: ``command``; ``machine``, its name, processor and number of
        cores; ``versions`` of Python and packages; and ``git``, the commit of
        the checkout that this code lies in, with '+changes' where files
        differ from it, or None.
    """
    versions = dict(python=platform.python_version(), mmreid=__version__)
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return dict(
        command=shlex.join(sys.argv),
        machine=f'{platform.node()}, {platform.machine()}, '
        f'{os.cpu_count()} cores',
        versions=versions,
        git=_git_state(),
    )


def _git_state() -> str | None:
    root = osp.dirname(osp.dirname(osp.dirname(osp.abspath(__file__))))
    if not osp.exists(osp.join(root, '.git')):
        return None
    try:
        commit, changes = (
            subprocess.run(
                ['git', '-C', root, *arguments.split()],
                capture_output=True,
                text=True,
                check=True,
                timeout=10,
            ).stdout.strip()
            for arguments in (
                'rev-parse HEAD',
                'status --porcelain --untracked-files=no',
            )
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ('+changes' if changes else '')
