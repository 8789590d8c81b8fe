import math

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmreid.errors import InputError
from mmreid.registry import MODELS


@MODELS.register_module()
class ReferenceAgentHead(BaseModule):
    """Reference agents a_1..a_Np and the soft multilabels they give.

    The agents are the weights of a bias-free classifier of the auxiliary
    identities. In the pretraining it classifies by the raw inner product;
    afterwards features and agents have unit norm and cosines are multiplied
    by the scale s.

    Args:
        num_agents (int): Identities of the auxiliary set.
        in_channels (int): Length D of a feature.
        num_reference_persons (int, optional): Use only the first N agents in
            soft multilabels and L_RJ (Fig. 6; L_AL keeps all). Defaults to
            None, all.
        scale (float | str): Scale s on cosines, or ``'auto'``: the average
            own-class inner product over the source training images at the
            end of the pretraining, as the paper says (the published code
            has 30). Defaults to 30.
        init_cfg (dict, optional): Initialisation. ``Pretrained`` with the
            ``prefix`` of a network's classifier takes its rows as agents; a
            bias is left out. Defaults to None.

    Raises:
        InputError: If an option is out of its range.
    """

    def __init__(
        self,
        num_agents: int,
        in_channels: int,
        num_reference_persons: int | None = None,
        scale: float | str = 30.0,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.num_agents = num_agents
        if num_reference_persons is None:
            num_reference_persons = num_agents
        if not 1 <= num_reference_persons <= num_agents:
            raise InputError(
                f'num_reference_persons={num_reference_persons} must be '
                f'between 1 and {num_agents}, the identities of the auxiliary '
                'set.'
            )
        number = isinstance(scale, int | float)
        if scale != 'auto' and not (number and scale > 0):
            raise InputError(
                "scale of ReferenceAgentHead must be above 0, or 'auto', but "
                f'is {scale!r}.'
            )
        self.num_reference_persons = num_reference_persons
        self.agents = nn.Parameter(torch.empty(num_agents, in_channels))
        nn.init.kaiming_uniform_(self.agents, a=math.sqrt(5))
        self.measures_scale = scale == 'auto'
        self.register_buffer(
            'scale',
            torch.tensor(float('nan' if self.measures_scale else scale)),
        )

    def logits(self, features: Tensor) -> Tensor:
        """Inner products without unit norm, (N, D) -> (N, num_agents)."""
        return features @ self.agents.t()

    def unit_agents(self) -> Tensor:
        """The agents with unit norm, (num_agents, D)."""
        return F.normalize(self.agents)

    def scaled_cosine(
        self, unit_features: Tensor, unit_agents: Tensor | None = None
    ) -> Tensor:
        """``s cos(a_i, f)`` of L_AL, (N, D) -> (N, num_agents).

        Its gradient reaches the agents.

        Args:
            unit_features (Tensor): (N, D).
            unit_agents (Tensor, optional): Of :meth:`unit_agents`, so that
                several calls share it. Defaults to None: it is computed.

        Returns:
            Tensor: (N, num_agents).
        """
        if unit_agents is None:
            unit_agents = self.unit_agents()
        return self.scale * (unit_features @ unit_agents.t())

    def reference_cosine(
        self, unit_features: Tensor, unit_agents: Tensor | None = None
    ) -> Tensor:
        """Cosines with the detached reference agents, (N, D) -> (N, N_p).

        Args:
            unit_features (Tensor): (N, D).
            unit_agents (Tensor, optional): See :meth:`scaled_cosine`.

        Returns:
            Tensor: (N, N_p).
        """
        if unit_agents is None:
            unit_agents = self.unit_agents()
        agents = unit_agents[: self.num_reference_persons].detach()
        return unit_features @ agents.t()

    def log_soft_multilabel(self, reference_cosine: Tensor) -> Tensor:
        """``log y`` (Eq. 1) with the scale on the cosines, (N, N_p)."""
        return F.log_softmax(self.scale * reference_cosine, dim=1)

    def check_weights(self, state_dict: dict, prefix: str) -> None:
        """Raise an ``InputError`` if a checkpoint has other agents."""
        agents = state_dict.get(prefix + 'agents')
        if agents is not None and agents.shape != self.agents.shape:
            raise InputError(
                f'The checkpoint holds {agents.shape[0]} reference agents of '
                f'{agents.shape[1]} channels, but the config has '
                f'{self.num_agents} of {self.agents.shape[1]}: it belongs to '
                'another auxiliary set or backbone. Set '
                'model.head.num_agents and the backbone to those of the '
                'checkpoint, or take another checkpoint.'
            )

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        # The classifier of another network (init_cfg), whose rows are the
        # agents, and whose bias they have no place for.
        if prefix + 'weight' in state_dict:
            state_dict[prefix + 'agents'] = state_dict.pop(prefix + 'weight')
            state_dict.pop(prefix + 'bias', None)
            self.check_weights(state_dict, prefix)
        if not self.measures_scale:
            # The config's scale, not that of the checkpoint.
            state_dict[prefix + 'scale'] = self.scale.clone()
        super()._load_from_state_dict(state_dict, prefix, *args)
