"""Checkpoints that are damaged, malicious, or half written."""

import errno
import http.server
import itertools
import os
import pickle
import threading

import pytest
import torch
from mmengine.runner import CheckpointLoader
from mmengine.runner.checkpoint import save_checkpoint

from mmreid.errors import InputError
from mmreid.utils import checkpoint as module
from mmreid.utils.checkpoint import WHOLE_FILES, find_resumable
from mmreid.utils.files import whole_file, write_json

# The second: of what torch.save has not written.
REFUSED = 'holds pickled objects|bare-1.pth.* no checkpoint of torch'


class Mark:
    """What a pickle can do to who loads it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def save(path, iteration=0, **content):
    torch.save(dict(meta=dict(iter=iteration), state_dict={}, **content), path)


def flip(path, place, bit=4):
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    path.write_bytes(content)


def place_of(path, value):
    """Where a checkpoint's tensor holds a value."""
    return path.read_bytes().index(torch.tensor(value).numpy().tobytes())


@pytest.fixture
def malicious(tmp_path):
    """A checkpoint of each format that makes a folder when unpickled."""
    mark = tmp_path / 'mark'
    zipped, legacy, bare = (
        tmp_path / f'{name}-1.pth' for name in ('zip', 'legacy', 'bare')
    )
    save(zipped, optimizer=Mark(mark))
    torch.save(
        dict(state_dict=Mark(mark)),
        legacy,
        _use_new_zipfile_serialization=False,
    )
    bare.write_bytes(pickle.dumps(Mark(mark)))
    yield [zipped, legacy, bare]
    assert not mark.exists()


def test_the_mark_is_left_by_who_trusts_a_pickle(tmp_path):
    save(tmp_path / 'a.pth', optimizer=Mark(tmp_path / 'mark'))
    torch.load(tmp_path / 'a.pth', weights_only=False)
    assert (tmp_path / 'mark').exists()


def test_local_pickles_are_refused(malicious):
    for file in malicious:
        with pytest.raises(InputError, match=REFUSED):
            CheckpointLoader.load_checkpoint(str(file))


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Address of a server of the folder; downloads go beside it."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(tmp_path))

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    yield f'http://127.0.0.1:{server.server_address[1]}'
    server.shutdown()


def test_remote_pickles_are_refused(malicious, server, monkeypatch):
    for file in malicious:
        url = f'{server}/{file.name}'
        with pytest.raises(InputError, match=REFUSED):
            CheckpointLoader.load_checkpoint(url)
    # The names of MMEngine's model zoos lead to addresses.
    for scheme, function in (
        ('torchvision', 'get_torchvision_models'),
        ('open-mmlab', 'get_external_models'),
        ('mmcls', 'get_mmcls_models'),
    ):
        monkeypatch.setattr(
            module.mmengine.runner.checkpoint,
            function,
            lambda: dict(net=f'{server}/zip-1.pth'),
        )
        with pytest.raises(InputError, match='holds pickled objects'):
            CheckpointLoader.load_checkpoint(f'{scheme}://net')


def test_remote_checkpoints(tmp_path, server):
    save(tmp_path / 'net.pth', 7)
    url = f'{server}/net.pth'
    for _ in range(2):
        loaded = CheckpointLoader.load_checkpoint(url)
        assert loaded['meta'] == dict(iter=7)
        # The second time it is there.
        (tmp_path / 'net.pth').unlink(missing_ok=True)
    with pytest.raises(OSError, match='cannot be downloaded.*copy it to'):
        CheckpointLoader.load_checkpoint(f'{server}/missing.pth')
    # Its name says another hash.
    save(tmp_path / 'net-12345678.pth')
    with pytest.raises(OSError, match='invalid hash'):
        CheckpointLoader.load_checkpoint(f'{server}/net-12345678.pth')


def test_every_changed_byte_of_the_weights_is_found(tmp_path):
    file = tmp_path / 'a.pth'
    weights = torch.arange(1000, 1064, dtype=torch.float32)
    torch.save(dict(weights=weights), file)
    whole = file.read_bytes()
    begin = place_of(file, 1000.0)
    assert module.load_from_local(str(file))['weights'].equal(weights)
    for place in range(begin, begin + 256, 37):
        file.write_bytes(whole)
        flip(file, place)
        # PyTorch does not notice.
        assert not torch.load(file)['weights'].equal(weights)
        with pytest.raises(InputError, match='damaged.*checksum'):
            module.load_from_local(str(file))


def test_any_changed_byte_is_found_or_harmless(tmp_path):
    file = tmp_path / 'a.pth'
    torch.save(dict(meta=dict(iter=3), weights=torch.ones(3)), file)
    whole = file.read_bytes()
    found = 0
    for place, bit in itertools.product(range(len(whole)), (0, 4)):
        file.write_bytes(whole)
        flip(file, place, bit)
        try:
            loaded = module.load_from_local(str(file))
        except InputError:
            found += 1
        else:
            assert loaded['meta'] == dict(iter=3)
            assert loaded['weights'].equal(torch.ones(3))
    assert found > 800


@pytest.mark.parametrize(
    'content', [b'', b'text', b'<html>', b'\x80\x02', b'PK\x03\x04' * 9]
)
def test_what_is_no_checkpoint_is_not_called_malicious(tmp_path, content):
    file = tmp_path / 'a.pth'
    file.write_bytes(content)
    with pytest.raises(InputError, match='damaged or no checkpoint'):
        module.load_from_local(str(file))


def test_newest_whole_checkpoint(tmp_path):
    for name, iteration in (
        ('epoch_2', 20),
        ('epoch_10', 100),
        ('iter_90', 90),
        ('interrupted', 95),
        # Has no optimiser.
        ('stage_main', 200),
    ):
        save(tmp_path / f'{name}.pth', iteration)
    (tmp_path / 'last_checkpoint').write_text('/nowhere/epoch_2.pth')
    os.utime(tmp_path / 'epoch_2.pth')
    moved = tmp_path.rename(tmp_path.parent / 'moved')
    path, reason = find_resumable(str(moved))
    assert path == str(moved / 'epoch_10.pth')
    assert reason == f"Resumes from '{path}', iteration 100"

    newest = moved / 'epoch_10.pth'
    flip(newest, newest.read_bytes().index(b'iter') + 1)
    (moved / 'interrupted.pth').write_bytes(b'')
    path, reason = find_resumable(str(moved))
    assert path == str(moved / 'iter_90.pth')
    assert "epoch_10.pth' is passed over: The checkpoint" in reason
    assert "interrupted.pth' is passed over" in reason

    for file in moved.glob('*_*.pth'):
        file.unlink()
    with pytest.raises(InputError, match='nothing to resume.*interrupted'):
        find_resumable(str(moved))


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / 'new' / 'a.json'
    write_json([1], str(path))
    with pytest.raises(ZeroDivisionError), whole_file(str(path)) as file:
        file.write(b'half')
        1 / 0  # noqa: B018
    assert path.read_text() == '[\n  1\n]'
    assert os.listdir(path.parent) == ['a.json']


def test_a_full_disk_names_the_file_and_keeps_the_old_one(
    tmp_path, monkeypatch
):
    path = str(tmp_path / 'epoch_1.pth')
    save_checkpoint(dict(a=1), path, backend_args=WHOLE_FILES)

    def full(number):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(OSError, match="No space left.*epoch_1.pth'"):
        save_checkpoint(dict(a=2), path, backend_args=WHOLE_FILES)
    assert torch.load(path) == dict(a=1)
    assert os.listdir(tmp_path) == ['epoch_1.pth']
