from .jaccard_dbscan import JaccardDBSCAN
from .k_means import KMeans
from .self_paced_dbscan import SelfPacedDBSCAN

__all__ = ['JaccardDBSCAN', 'KMeans', 'SelfPacedDBSCAN']
