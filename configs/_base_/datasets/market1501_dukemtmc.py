# Market-1501 as in market1501_viper.py, DukeMTMC-reID as the target.
_base_ = 'market1501_viper.py'

target = dict(
    type='DukeMTMCreID', data_root='{{$MMREID_DATA:data}}/dukemtmc-reid')
