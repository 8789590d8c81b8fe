# Crops of your own cameras, without labels, as the target: all that is below
# crops/, or below the folder named by MMREID_CROPS, a folder per camera.
# Without labels there is neither test nor validation.
target = dict(
    type='ReIDFolder',
    data_root='{{$MMREID_CROPS:crops}}',
    # A regular expression that finds the camera in a path below data_root,
    # such as r'_c(?P<camera>\d+)_', in place of a folder per camera.
    pattern=None,
    labelled=False)
