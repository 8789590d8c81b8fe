# Camera-aware proxies for your own cameras (docs/own_cameras.md): crops alone,
# no label and no source, from an OSNet that MSMT17 trained; for two CPU cores.
_base_ = 'camera_proxies_osnet-x0-25_192x96_market1501.py'

target = dict(
    _delete_=True,
    type='ReIDFolder',
    data_root='{{$MMREID_CROPS:crops}}',
    pattern=None,
    labelled=False)

# Nobody knows who is who.
default_hooks = dict(pseudo_labels=dict(quality=False))
