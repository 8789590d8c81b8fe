from abc import abstractmethod

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from mmreid.registry import MODELS


class BaseReID(BaseModel):
    """Base of the re-identification algorithms: images in, features out.

    Args:
        backbone (dict): Config of any backbone of mmreid, mmpretrain
            (``mmpretrain.ResNet``) or timm (``mmpretrain.TIMMBackbone``).
        neck (dict, optional): Config of what makes a vector of the last
            feature map. Defaults to global average pooling.
        data_preprocessor (dict, optional): Config of
            :class:`ReIDDataPreprocessor`. Defaults to None.
        amp (bool): Run the backbone in bfloat16 autocast and channels-last
            layout, on a CPU too. Its features are cast to float32, so
            losses, mining and ranking are not touched. Defaults to False.
        flip_test (bool): Deploy the mean of what an image and its mirror
            image give. Defaults to False.
        init_cfg (dict, optional): Initialisation. Defaults to None.
    """

    def __init__(
        self,
        backbone: dict,
        neck: dict | None = None,
        data_preprocessor: dict | None = None,
        amp: bool = False,
        flip_test: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        # Built here, so that no default scope is needed to find it.
        super().__init__(
            data_preprocessor and MODELS.build(data_preprocessor), init_cfg
        )
        self.amp = amp
        self.flip_test = flip_test
        self.backbone = self.build_backbone(backbone)
        self.neck = MODELS.build(
            neck or dict(type='mmpretrain.GlobalAveragePooling')
        )

    def build_backbone(self, backbone: dict) -> nn.Module:
        """A backbone from its config, in the layout that ``amp`` needs."""
        module = MODELS.build(backbone)
        if self.amp:
            module.to(memory_format=torch.channels_last)
        return module

    def run_backbone(self, backbone: nn.Module, inputs: Tensor) -> Tensor:
        """Pooled features of a backbone, (N, 3, H, W) -> (N, D) float32."""
        if self.amp:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        with torch.autocast(
            inputs.device.type, torch.bfloat16, enabled=self.amp
        ):
            outputs = backbone(inputs)
            features = outputs[-1] if isinstance(outputs, tuple) else outputs
            if features.dim() > 2:
                features = self.neck(features)
        return features.float()

    def extract_feat(self, inputs: Tensor) -> Tensor:
        """The retrieval features, (N, 3, H, W) -> (N, D) float32."""
        return self.run_backbone(self.backbone, inputs)

    def forward(
        self,
        inputs: Tensor,
        data_samples: dict | None = None,
        mode: str = 'tensor',
    ) -> Tensor | dict | list[dict]:
        """One of the three modes of MMEngine's models.

        Args:
            inputs (Tensor): Normalised images, (N, 3, H, W).
            data_samples (dict, optional): Tensors (N, ) such as
                ``person_id``. Defaults to None.
            mode (str): ``'tensor'``: the features; ``'loss'``: a dict of
                losses and diagnostics; ``'predict'``: a list of one dict,
                ``data_samples`` with the features added (one stacked tensor
                for a whole batch is what evaluation can gather fast).
        """
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode == 'tensor':
            return self.extract_feat(inputs)
        if mode == 'predict':
            (output,) = self.predict(inputs, data_samples)
            if self.flip_test:
                (mirrored,) = self.predict(inputs.flip(-1), data_samples)
                for name in output.keys() - data_samples.keys():
                    output[name] = (output[name] + mirrored[name]) / 2
            return [output]
        raise ValueError(
            f"mode must be 'tensor', 'loss' or 'predict', but is {mode!r}."
        )

    def predict(self, inputs: Tensor, data_samples: dict) -> list[dict]:
        """One dict, ``data_samples`` with the ``features`` added."""
        return [dict(features=self.extract_feat(inputs), **data_samples)]

    @abstractmethod
    def loss(self, inputs: Tensor, data_samples: dict) -> dict:
        """Losses of a training batch."""
