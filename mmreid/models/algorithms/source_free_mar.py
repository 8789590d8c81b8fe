import torch.nn.functional as F
from torch import Tensor

from mmreid.errors import InputError
from mmreid.registry import MODELS
from mmreid.structures import BatchInfo

from ..utils import gather_batch
from .mar import MAR


@MODELS.register_module()
class SourceFreeMAR(MAR):
    """MAR from a checkpoint alone, without any image of its source.

    The classifier's rows of a trained network are its reference persons: they
    are the agents, and stay as they are. Without source images L_AL and L_RJ
    drop out of Eq. 10; what is left is ``L_MDL + lambda_1 L_CML`` in the
    stage ``main``. No paper has this.

    It starts from what MAR has trained (``load_from=stage_pretrain.pth``), or
    from any network and its classifier, by ``init_cfg`` of ``backbone`` and
    ``head``.

    Args:
        **kwargs: See :class:`MAR`. ``head.scale`` is a number.

    Raises:
        InputError: If the scale is to be measured, on source images.
    """

    stages = dict(main=dict(target=['camera_id']))
    follows = {}

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        if self.head.measures_scale:
            raise InputError(
                "model.head.scale='auto' is measured on source images, of "
                'which SourceFreeMAR has none: set it to a number such as 30.'
            )
        self.head.agents.requires_grad_(False)

    def check_agents(self, dataset) -> None:
        """Nothing: they are whoever the network was trained on."""

    def loss(self, batch: dict[str, Tensor], info: BatchInfo) -> dict:
        """Losses of one batch, see :meth:`MAR.loss`."""
        part = info.part(batch, 'target')
        target = F.normalize(gather_batch(self.extract_feat(part['inputs'])))
        cosine = self.head.reference_cosine(target)
        return self.target_losses(target, cosine, part, len(target))
