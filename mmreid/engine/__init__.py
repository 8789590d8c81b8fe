from .extraction import extract, fill_batch  # noqa: F401
from .hooks import *  # noqa: F401,F403
from .runner import *  # noqa: F401,F403
