from torch import nn


def take_shapes(
    module: nn.Module, state_dict: dict, prefix: str, *names: str
) -> None:
    """Make room for buffers as large as those of a checkpoint.

    For what is as long as the data says, such as a row per cluster. One that
    the checkpoint lacks stays as it is.

    Args:
        module (nn.Module): Whose buffers they are.
        state_dict (dict): The checkpoint's.
        prefix (str): Of the module's keys in it.
        *names (str): The buffers.
    """
    for name in names:
        stored = state_dict.get(prefix + name)
        if stored is not None:
            room = getattr(module, name).new_zeros(stored.shape)
            setattr(module, name, room)
