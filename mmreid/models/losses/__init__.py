from .attribute_loss import AttributeLoss
from .cml_loss import CMLLoss
from .mdl_loss import MDLLoss
from .rj_loss import RJLoss

__all__ = ['AttributeLoss', 'CMLLoss', 'MDLLoss', 'RJLoss']
