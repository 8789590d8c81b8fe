"""mmreid: person re-identification on cameras that have no labels."""

import mmcv
import mmengine
import mmpretrain
from mmengine.utils import digit_version

from . import registry  # noqa: F401
from .version import __version__

__all__ = ['__version__']

for _package, _minimum, _below in (
    (mmengine, '0.10.4', '0.11.0'),
    (mmcv, '2.0.0', '2.3.0'),
    (mmpretrain, '1.2.0', '2.0.0'),
):
    if not (
        digit_version(_minimum)
        <= digit_version(_package.__version__)
        < digit_version(_below)
    ):
        raise ImportError(
            f'mmreid {__version__} needs {_package.__name__}>={_minimum},'
            f'<{_below}, but {_package.__version__} is installed. Install '
            'the versions of requirements/constraints.txt.'
        )
