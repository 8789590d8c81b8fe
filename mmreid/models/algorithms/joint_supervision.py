from torch import Tensor

from mmreid.registry import MODELS
from mmreid.structures import BatchInfo

from .attribute_base import AttributeReID


@MODELS.register_module()
class JointSupervision(AttributeReID):
    """One network that learns identities and attributes directly.

    The baseline 'Joint Supervision' of TJ-AIDL (Table 2): a shared feature is
    subject to L_id (Eq. 1) and L_att (Eq. 2) at once, unweighted. Its stage
    is ``joint``, on source images.

    Args:
        num_identities (int): Identities of the source. Defaults to 751.
        num_attributes (int): Attributes m of the source. Defaults to 27.
        **kwargs: See :class:`AttributeReID`.
    """

    stages = dict(joint=dict(source=['person_id', 'attributes']))

    def __init__(
        self,
        num_identities: int = 751,
        num_attributes: int = 27,
        **kwargs,
    ) -> None:
        super().__init__(num_identities, num_attributes, **kwargs)

    def loss(self, batch: dict[str, Tensor], info: BatchInfo) -> dict:
        """L_id + L_att of source images.

        Args:
            batch (dict[str, Tensor]): See :meth:`BaseReID.loss`.
            info (BatchInfo): Of the batch.

        Returns:
            dict: ``loss_id`` and ``loss_att``; ``source_accuracy`` and
            ``attribute_accuracy`` in percent.

        Raises:
            InputError: If ``attributes`` are not m.
        """
        source = info.part(batch, 'source')
        features = self.run_backbone(self.backbone, source['inputs'])
        logits = self.attribute_classifier(features)
        return dict(
            **self.identity_losses(features, source['person_id']),
            **self.attribute_losses(logits, source['attributes']),
        )
