from mmengine.model import is_model_wrapper


def algorithm_of(runner):
    """The runner's model, without the wrapper of a distributed run."""
    model = runner.model
    return model.module if is_model_wrapper(model) else model
