"""MATLAB files, which their reader does not always survive."""

from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

from scipy.io import loadmat


def read_mat(path: str) -> dict:
    """Read a ``.mat`` file in a process of its own.

    SciPy's reader writes where it must not at some changed bytes, and the
    process ends without a word.

    Args:
        path (str): The file.

    Returns:
        dict: Its variables; structs are dicts, so nothing is read by
        position.

    Raises:
        Exception: What SciPy raises, whose kinds are many.
        ValueError: If its process ended.
    """
    with ProcessPoolExecutor(1, get_context('fork')) as pool:
        reading = pool.submit(
            loadmat, path, appendmat=False, simplify_cells=True
        )
        try:
            return reading.result()
        except BrokenProcessPool as error:
            raise ValueError('the reader crashes at it') from error
