from .camera_references import CameraReferences
from .cluster_memory import ClusterMemory
from .hybrid_memory import HybridMemory
from .proxy_memory import ProxyMemory
from .pseudo_labels import PseudoLabels
from .soft_multilabel_memory import SoftMultilabelMemory

__all__ = [
    'CameraReferences',
    'ClusterMemory',
    'HybridMemory',
    'ProxyMemory',
    'PseudoLabels',
    'SoftMultilabelMemory',
]
