# DukeMTMC-reID as in dukemtmc_viper.py, Market-1501 as the target.
_base_ = 'dukemtmc_viper.py'

target = dict(
    type='Market1501', data_root='{{$MMREID_DATA:data}}/market1501')
