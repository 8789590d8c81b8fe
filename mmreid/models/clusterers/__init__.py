from .jaccard_dbscan import JaccardDBSCAN
from .k_means import KMeans

__all__ = ['JaccardDBSCAN', 'KMeans']
