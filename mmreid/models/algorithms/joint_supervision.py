from torch import Tensor

from mmreid.registry import MODELS

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
        in_channels (int): Length D of the backbone's feature. Defaults to
            1024.
        **kwargs: See :class:`BaseReID`.
    """

    stage_domains = dict(joint='source')

    def __init__(
        self,
        num_identities: int = 751,
        num_attributes: int = 27,
        in_channels: int = 1024,
        **kwargs,
    ) -> None:
        super().__init__(num_identities, num_attributes, in_channels, **kwargs)

    def loss(self, inputs: Tensor, data_samples: dict) -> dict:
        """L_id + L_att of source images.

        Args:
            inputs (Tensor): (N, 3, H, W).
            data_samples (dict): Tensors ``person_id`` (N, ) and
                ``attributes`` (N, m), 1, 0 or, unknown, -1; and ``stage``.

        Returns:
            dict: ``loss_id`` and ``loss_att``; ``source_accuracy`` and
            ``attribute_accuracy`` in percent.

        Raises:
            ValueError: If there is no such stage, or if ``attributes`` are
                missing or not m.
        """
        self.check_stage(data_samples['stage'])
        labels = self.attribute_labels(data_samples)
        features = self.run_backbone(self.backbone, inputs)
        return dict(
            **self.identity_losses(features, data_samples),
            **self.attribute_losses(
                self.attribute_classifier(features), labels
            ),
        )
