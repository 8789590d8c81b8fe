_base_ = [
    '../_base_/models/tj_aidl_mobilenet_v1.py',
    '../_base_/datasets/dukemtmc_market1501.py',
    '../_base_/loaders/tj_aidl_224x224.py',
    '../_base_/schedules/tj_aidl_140k.py',
    '../_base_/tj_aidl_runtime.py',
]

model = dict(num_identities=702, num_attributes=23)
