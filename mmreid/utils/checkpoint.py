import os.path as osp
import pickle

import torch
from mmengine.runner.checkpoint import CheckpointLoader

from mmreid.errors import InputError


# MMEngine's own lets through whatever the reading of a damaged file raises.
@CheckpointLoader.register_scheme(prefixes='', force=True)
def load_from_local(filename: str, map_location=None) -> dict:
    """Load a checkpoint file of plain values and tensors.

    Args:
        filename (str): The file.
        map_location: See :func:`torch.load`. Defaults to None.

    Returns:
        dict: The checkpoint.

    Raises:
        FileNotFoundError: If there is no such file.
        InputError: If it cannot be read, or holds pickled objects.
    """
    filename = osp.expanduser(filename)
    if not osp.isfile(filename):
        raise FileNotFoundError(f"The checkpoint '{filename}' does not exist.")
    try:
        return torch.load(filename, map_location=map_location)
    except OSError:
        raise
    # Torch has no class for it: a text file raises a KeyError, an empty one
    # an EOFError, a cut off one a RuntimeError.
    except Exception as error:
        if isinstance(error, pickle.UnpicklingError) and (
            'Unsupported global' in str(error)
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
