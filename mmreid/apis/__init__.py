from .adapt_bn import adapt_bn

__all__ = ['adapt_bn']
