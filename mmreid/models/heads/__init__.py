from .iia_head import IIAHead
from .reference_agent_head import ReferenceAgentHead

__all__ = ['IIAHead', 'ReferenceAgentHead']
