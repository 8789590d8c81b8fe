"""The configs and tools that are installed with the package."""

import difflib
import os.path as osp
from pathlib import Path

from mmengine.config import Config

PREFIX = 'mmreid::'
# Of a checkout links, of an installed package copies, as OpenMMLab's tools
# look for them.
INSTALLED = osp.join(osp.dirname(osp.dirname(osp.abspath(__file__))), '.mim')
CONFIGS = osp.join(INSTALLED, 'configs')
TOOLS = osp.join(INSTALLED, 'tools')


def locate_config(path: str) -> str:
    """The file of a config that a user or another config names.

    Args:
        path (str): A path, which is given back, or ``mmreid::FOLDER/FILE``,
            one of the configs that come with the package. May end in
            ``:ROW``.

    Returns:
        str: The path, with the same end.

    Raises:
        FileNotFoundError: If the package has no such config.
    """
    if not path.startswith(PREFIX):
        return path
    name, is_row, row = path[len(PREFIX) :].partition('.py:')
    file = osp.join(CONFIGS, name + '.py' * bool(is_row))
    if not osp.isfile(file):
        names = package_configs()
        # The file's own name is what people remember, and misspell.
        near = difflib.get_close_matches(osp.basename(name), names, 3)
        raise FileNotFoundError(
            f"'{path}' is not among the configs of the package; there are "
            + ', '.join(names[n] for n in near or names)
            + '.'
        )
    return file + ':' * bool(is_row) + row


def package_configs() -> dict[str, str]:
    """The main configs of the package: ``mmreid::...`` by file name."""
    return {
        file.name: f'{PREFIX}{file.parent.name}/{file.name}'
        for file in sorted(Path(CONFIGS).glob('[!_]*/*.py'))
        if file.name != 'table.py'
    }


_get_cfg_path = Config._get_cfg_path


def _find_base(cfg_path: str, filename: str) -> tuple[str, str | None]:
    """What MMEngine asks where a config's base is.

    Its own answer to ``PACKAGE::...`` is for a fixed list of packages, asks
    setuptools, which does not know where an editable install is, and writes
    ``_scope_`` into the config.
    """
    if cfg_path.startswith(PREFIX):
        return locate_config(cfg_path), None
    return _get_cfg_path(cfg_path, filename)


Config._get_cfg_path = staticmethod(_find_base)
