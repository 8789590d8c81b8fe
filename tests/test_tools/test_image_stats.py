import csv
import os.path as osp

import cv2
import numpy as np
import tiny_mar

TOOL = osp.join(tiny_mar.ROOT, 'tools/analysis_tools/image_stats.py')


def test_mean_and_deviation(run_main, capsys, tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (2, 8, 4, 3)).astype(np.uint8)
    with open(tmp_path / 'people.csv', 'w', newline='') as file:
        rows = csv.writer(file)
        rows.writerow(['path', 'person_id', 'camera_id'])
        for i, image in enumerate(images):
            cv2.imwrite(str(tmp_path / f'{i}.png'), image)
            rows.writerow([f'{i}.png', i, 0])
    assert run_main(TOOL, 'ReIDManifest', tmp_path / 'people.csv') == 0
    rgb = images.reshape(-1, 3)[:, ::-1]
    lines = capsys.readouterr().out.split('\n')
    for line, name in zip(lines, ('mean', 'std'), strict=False):
        values = ', '.join(f'{v:.4f}' for v in getattr(rgb, name)(0))
        assert line == f'{name}=({values})'


def test_unknown_data_set(run_main, capsys, tmp_path):
    assert run_main(TOOL, 'Markt', tmp_path) == 1
    assert "'Markt' is no data set of mmreid: CUHK01," in (
        capsys.readouterr().err
    )
