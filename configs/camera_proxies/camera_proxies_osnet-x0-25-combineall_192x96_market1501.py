# camera_proxies_osnet-x0-25_192x96_market1501.py from weights of all 4,101
# persons of MSMT17, test persons too, as people download them: see
# tools/model_converters/osnet_onnx_to_mmreid.py.
_base_ = 'camera_proxies_osnet-x0-25_192x96_market1501.py'

model = dict(
    backbone=dict(
        init_cfg=dict(
            checkpoint='{{$MMREID_WEIGHTS:data/weights}}'
            '/osnet_x0_25_msmt17_4101ids.pth')))
