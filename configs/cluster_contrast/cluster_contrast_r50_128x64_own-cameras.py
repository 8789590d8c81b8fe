# Cluster Contrast for your own cameras (docs/own_cameras.md): crops alone, no
# label and no source; for two CPU cores (use --amp).
_base_ = 'cluster_contrast_r50_128x64_market1501.py'

target = dict(
    _delete_=True,
    type='ReIDFolder',
    data_root='{{$MMREID_CROPS:crops}}',
    pattern=None,
    labelled=False)

# Nobody knows who is who.
default_hooks = dict(pseudo_labels=dict(quality=False))
