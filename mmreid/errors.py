"""What the tools tell the user in one sentence."""


class InputError(ValueError):
    """A config, file or argument is at fault, not the code.

    Its message says which, what was expected and what to do. The tools print
    it alone; every other error ends in its traceback.
    """
