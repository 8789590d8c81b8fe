# Market-1501 as in market1501_viper.py, PRID-2011 (single shot) as the target.
_base_ = 'market1501_viper.py'

target = dict(
    type='PRID2011', data_root='{{$MMREID_DATA:data}}/prid2011')
