# DukeMTMC-reID as in dukemtmc_viper.py, PRID-2011 (single shot) as the target.
_base_ = 'dukemtmc_viper.py'

target = dict(
    type='PRID2011', data_root='{{$MMREID_DATA:data}}/prid2011')
