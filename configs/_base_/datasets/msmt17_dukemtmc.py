# MSMT17 as in msmt17_market1501.py, DukeMTMC-reID without labels as the target.
_base_ = 'msmt17_market1501.py'

target = dict(
    type='DukeMTMCreID', data_root='{{$MMREID_DATA:data}}/dukemtmc-reid')
