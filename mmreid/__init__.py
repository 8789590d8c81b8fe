"""mmreid: person re-identification on cameras that have no labels."""

import warnings
from importlib import metadata

from mmengine.utils import digit_version

from . import registry  # noqa: F401
from .utils import package_files  # noqa: F401, for _base_ = 'mmreid::...'
from .version import __version__

__all__ = ['__version__']


def _installed(*names: str) -> str | None:
    """Version of the first package of these names that is there.

    Read from its metadata: importing mmcv and mmpretrain takes seconds.
    """
    for name in names:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


for _names, _minimum, _below in (
    # The packages of a module: the whole and a smaller one.
    (('mmengine', 'mmengine-lite'), '0.10.4', '0.11.0'),
    (('mmcv', 'mmcv-lite'), '2.0.1', '2.3.0'),
    (('mmpretrain',), '1.2.0', '2.0.0'),
):
    _found = _installed(*_names)
    if _found is None or not (
        digit_version(_minimum)
        <= digit_version(_found)
        < digit_version(_below)
    ):
        raise ImportError(
            f'mmreid {__version__} needs {_names[0]}>={_minimum},<{_below}, '
            f'but {_found or "none"} is installed. Install the versions of '
            'requirements/constraints.txt.'
        )

# mmcv-lite says at its import that it lacks an operator, which nothing here
# needs.
warnings.filterwarnings(
    'ignore',
    'Fail to import ``MultiScaleDeformableAttention``',
    UserWarning,
    'mmcv.cnn.bricks.transformer',
)
