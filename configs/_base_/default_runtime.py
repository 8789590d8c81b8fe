default_scope = 'mmreid'

default_hooks = dict(
    # Lets the algorithm prepare each stage, and keeps what the stage left.
    stage_switch=dict(type='StageSwitchHook'),
    runtime_info=dict(type='RuntimeInfoHook'),
    timer=dict(type='IterTimerHook'),
    logger=dict(type='StageLoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    # Two, so that one is left if the other is damaged. stage_<name>.pth are
    # kept apart from these.
    checkpoint=dict(
        type='WholeCheckpointHook',
        by_epoch=True,
        interval=1,
        max_keep_ckpts=2),
    finite_loss=dict(type='FiniteLossHook'),
    # SIGTERM and Ctrl-C leave interrupted.pth.
    interruption=dict(type='InterruptionHook'),
    provenance=dict(type='ProvenanceHook'),
    sync_norm_stats=dict(type='SyncNormStatsHook', priority='ABOVE_NORMAL'),
    full_batch=dict(type='FullBatchHook'),
    unreadable_images=dict(type='UnreadableImageHook'),
    # Extracts training images where a ReIDMetric has camera_mean='train'.
    camera_mean=dict(type='CameraMeanHook'),
    # What can be known of the target without labels; domain=None: nothing.
    neighbour_report=dict(type='NeighbourReportHook', domain='target'))

env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'))

# broadcast_buffers must be off: every rank keeps equal buffers by itself.
model_wrapper_cfg = dict(
    type='MMDistributedDataParallel', broadcast_buffers=False)

vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='Visualizer', vis_backends=vis_backends)
log_processor = dict(
    by_epoch=False,
    window_size=50,
    # 'purity_' of mined pairs; clusters are logged once an epoch.
    mean_pattern=r'.*(loss|time|mined|purity_|accuracy|agreement).*')
log_level = 'INFO'

randomness = dict(seed=0)
load_from = None
resume = False
