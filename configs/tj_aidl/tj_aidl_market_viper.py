# TJ-AIDL as in the paper: MobileNet, batches of 8, Adam, 100,000 iterations of
# the identity branch, 20,000 of joint learning, 20,000 of adaptation.
_base_ = [
    '../_base_/models/tj_aidl_mobilenet_v1.py',
    '../_base_/datasets/market1501_viper.py',
    '../_base_/loaders/tj_aidl_224x224.py',
    '../_base_/schedules/tj_aidl_140k.py',
    '../_base_/tj_aidl_runtime.py',
]
