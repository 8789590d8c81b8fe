from .camera_references import CameraReferences
from .pseudo_labels import PseudoLabels
from .soft_multilabel_memory import SoftMultilabelMemory

__all__ = ['CameraReferences', 'PseudoLabels', 'SoftMultilabelMemory']
