from mmengine.model import is_model_wrapper
from torch import Tensor


def algorithm_of(runner):
    """The runner's model, without the wrapper of a distributed run."""
    model = runner.model
    return model.module if is_model_wrapper(model) else model


def cluster_counts(labels: Tensor | None) -> dict[str, float]:
    """What the log shows of pseudo-labels.

    Args:
        labels (Tensor, optional): (N, ), -1 for images of no cluster.

    Returns:
        dict[str, float]: ``clusters``, their number, and ``clustered``, the
        images in one, in percent; empty where there are no labels.
    """
    if labels is None:
        return {}
    labelled = labels[labels >= 0]
    return dict(
        clusters=len(labelled.unique()),
        clustered=100 * len(labelled) / len(labels),
    )
