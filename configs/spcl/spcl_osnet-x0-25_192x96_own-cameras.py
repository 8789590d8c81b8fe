# SpCL for your own cameras (docs/own_cameras.md): crops without labels beside
# a labelled source, here Market-1501, from an OSNet that MSMT17 trained; for
# two CPU cores (use --amp).
_base_ = 'spcl_osnet-x0-25_192x96_cuhk-market.py'

source = [
    dict(type='Market1501', data_root='{{$MMREID_DATA:data}}/market1501'),
]
target = dict(
    _delete_=True,
    type='ReIDFolder',
    data_root='{{$MMREID_CROPS:crops}}',
    pattern=None,
    labelled=False)

# Nobody knows who is who.
default_hooks = dict(pseudo_labels=dict(quality=False))
