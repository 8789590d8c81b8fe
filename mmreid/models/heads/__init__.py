from .reference_agent_head import ReferenceAgentHead

__all__ = ['ReferenceAgentHead']
