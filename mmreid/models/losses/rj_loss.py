import torch
from torch import Tensor, nn

from mmreid.registry import MODELS


@MODELS.register_module()
class RJLoss(nn.Module):
    """Reference agent-based joint embedding loss, L_RJ (Eq. 8).

    With unit norms ``|a - f|_2^2 = 2 - 2 cos``, so an agent lies within the
    margin m of an image if their cosine exceeds ``1 - m / 2``. The terms, as
    in the published code, which keeps the auxiliary negatives that the
    paper's footnote 2 omits:

    * each source image: its squared distance to its own agent;
    * each source image with *other* agents within the margin: the mean of
      the hinges ``m - |a - f|_2^2`` over those agents;
    * each target image with agents within the margin: likewise.

    The loss is the mean over all these terms. The gradient reaches the
    features only: the agents learn from L_AL alone.

    Args:
        margin (float): m. Defaults to 1.
        loss_weight (float): Weight, lambda_2 beta in the paper. Defaults to
            1.
    """

    def __init__(self, margin: float = 1.0, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.margin = margin
        self.loss_weight = loss_weight

    def forward(
        self, source_cosine: Tensor, person_id: Tensor, target_cosine: Tensor
    ) -> Tensor:
        """Loss of a batch.

        Args:
            source_cosine (Tensor): Source images against the N_p reference
                agents, (N_s, N_p).
            person_id (Tensor): Their identities, (N_s, ); an image whose
                identity is not among the N_p (they are the first of the
                auxiliary set) has no part in the loss.
            target_cosine (Tensor): Target images against the agents,
                (N_t, N_p).

        Returns:
            Tensor: A scalar.
        """
        num_agents = source_cosine.size(1)
        known = person_id < num_agents
        label = person_id.clamp(max=num_agents - 1)[:, None]
        own_distance = 2 - 2 * source_cosine.gather(1, label).squeeze(1)
        agent = torch.arange(num_agents, device=label.device)
        other = (agent != label) & known[:, None]
        terms = [(own_distance, known)]
        for cosine, candidate in (
            (source_cosine, other),
            (target_cosine, torch.ones_like(target_cosine, dtype=torch.bool)),
        ):
            near = candidate & (cosine > 1 - self.margin / 2)
            hinge = (self.margin - 2 + 2 * cosine) * near
            count = near.sum(1)
            terms.append((hinge.sum(1) / count.clamp(min=1), count > 0))
        total = sum((value * used).sum() for value, used in terms)
        count = sum(used.sum() for _, used in terms).clamp(min=1)
        return self.loss_weight * (total / count)
