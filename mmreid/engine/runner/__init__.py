from .reid_runner import ReIDRunner
from .staged_train_loop import Stage, StagedTrainLoop
from .trial_loop import TrialLoop

__all__ = ['ReIDRunner', 'Stage', 'StagedTrainLoop', 'TrialLoop']
