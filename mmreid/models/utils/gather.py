import torch
from mmengine.dist import get_world_size
from torch import Tensor
from torch.distributed.nn.functional import all_gather


def gather_batch(tensor: Tensor) -> Tensor:
    """The global batch (W N, ...) of every rank's (N, ...), with gradient.

    Each rank then computes the same loss of the global batch. The backward
    of the gathering adds up the ranks' (equal) gradients, W times the one
    wanted, and DistributedDataParallel divides by W: together the gradient
    of the one global loss, as in a single process.
    """
    if get_world_size() == 1:
        return tensor
    if not tensor.is_floating_point():
        gathered = [torch.empty_like(tensor) for _ in range(get_world_size())]
        torch.distributed.all_gather(gathered, tensor.contiguous())
        return torch.cat(gathered)
    return torch.cat(all_gather(tensor.contiguous()))
