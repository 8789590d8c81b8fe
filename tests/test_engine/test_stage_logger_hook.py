import json

from tiny_mar import BOUNDARY, train


def test_early_lines_and_averages_of_the_stage_alone(tiny_config):
    cfg = tiny_config(default_hooks__logger__interval=100)
    for stage in cfg.train_cfg.stages.values():
        stage.pop('max_epochs')
        stage.max_iters = 6
        stage.param_scheduler = []
    runner = train(cfg)
    with open(f'{runner._log_dir}/vis_data/scalars.json') as file:
        lines = [json.loads(line) for line in file]
    trained = [line for line in lines if 'loss_al' in line]
    steps = [line['step'] for line in trained]
    # The fifth of each stage; besides, MMEngine's end of a short epoch.
    assert 5 in steps and BOUNDARY + 5 in steps
    # The agents of the second stage have another loss, and T.
    scalars = runner.message_hub.log_scalars
    assert len(scalars['train/loss_al'].data[0]) == 6
    first, last = trained[0], trained[-1]
    assert 'loss_cml' not in first and 'loss_cml' in last


def test_history_does_not_grow(tiny_config):
    cfg = tiny_config(log_processor__window_size=3)
    scalars = train(cfg).message_hub.log_scalars
    # 9 iterations of the stage; the last window ended with the training.
    assert len(scalars['train/loss'].data[0]) == 3
    whole = train(tiny_config('other')).message_hub.log_scalars['train/loss']
    assert scalars['train/loss'].mean(3) == whole.mean(3)
