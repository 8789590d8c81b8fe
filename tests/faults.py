"""Faults on purpose: what a run survives, and what is lost (nothing).

    python tests/faults.py [--only NAME ...] [--part 0.1] [--seed 0]

Each fault is tried so many times, at random moments drawn from the seed. A
round is lost if, after going on by ``--resume`` (or after the error that it
must end in), anything differs from a run that nothing happened to: weights,
optimiser and schedulers are compared bit for bit, files byte for byte. Ends
with a table, and with status 1 if any round was lost.

``make test-faults`` runs all of it, the tests (test_faults.py) a part.
"""

import argparse
import contextlib
import ctypes
import functools
import itertools
import multiprocessing
import os
import random
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import tiny_mar
import tiny_tj_aidl
import torch
from mmengine.hooks import Hook
from toy_method import toy_config

from mmreid.datasets import ReIDManifest
from mmreid.datasets.attributes import read_attributes
from mmreid.errors import InputError
from mmreid.evaluation.features import load_features, save_features
from mmreid.registry import HOOKS
from mmreid.structures import FeatureSet
from mmreid.utils import read_config
from mmreid.utils.checkpoint import (
    RESUMABLE,
    files_of,
    find_resumable,
    load_from_local,
)
from mmreid.utils.config_check import check_config
from mmreid.utils.work_dir import claim_work_dir

FORK = multiprocessing.get_context('fork')
NOBODY = 65534
# What the tools print in one line.
USERS = (InputError, OSError)


@dataclass
class Result:
    """Of the rounds of a fault: what happened, and how many lost anything."""

    outcome: str
    lost: int = 0


FAULTS: dict[str, tuple[int, Callable]] = {}


def fault(name: str, rounds: int) -> Callable:
    """Register a function (rounds, rng, folder) -> Result."""

    def register(function: Callable) -> Callable:
        FAULTS[name] = rounds, function
        return function

    return register


class Lost(AssertionError):
    """Something that must not be lost was."""


def require(condition: bool, what: str) -> None:
    if not condition:
        raise Lost(what)


# ---------------------------------------------------------------- runs


def mar(data: str, work_dir: str):
    return tiny_mar.tiny_config(data, work_dir)


def tj_aidl(data: str, work_dir: str):
    cfg = tiny_tj_aidl.tiny_config(data, work_dir)
    cfg.default_hooks.checkpoint.interval = 2
    return cfg


def clusters(data: str, work_dir: str):
    """Pseudo-labels that change every epoch, and a worker process."""
    return toy_config(tiny_mar.tiny_config(data, work_dir))


METHODS = (mar, tj_aidl, clusters)


def last_states(work_dir: str) -> dict:
    """All that a later iteration would start from."""
    content = load_from_local(find_resumable(work_dir)[0])
    kept = ('state_dict', 'optimizer', 'param_schedulers')
    return dict(
        {key: content[key] for key in kept}, iter=content['meta']['iter']
    )


def _child(
    cfg, resume: bool, hurt: Callable | None, log: str, nobody: bool
) -> None:
    """A training in a process of its own, forked to save the imports."""
    stream = open(log, 'w', buffering=1)
    for number in (1, 2):
        os.dup2(stream.fileno(), number)
    # Under pytest these are not the two.
    sys.stdout = sys.stderr = stream
    torch.set_num_threads(1)
    if nobody:
        os.setuid(NOBODY)
    if hurt:
        hurt()
    try:
        claim_work_dir(cfg.work_dir, resume)
        cfg.resume = resume
        tiny_mar.train(cfg)
    except USERS as error:
        print(f'error: {error}', flush=True)
        os._exit(1)
    except SystemExit as end:
        os._exit(end.code)
    except BaseException:
        traceback.print_exc()
        os._exit(70)
    os._exit(0)


def start(
    method: Callable,
    data: str,
    work_dir: str,
    hurt: Callable | None = None,
    nobody: bool = False,
    **changes,
) -> multiprocessing.Process:
    """Start a training, or go on with it if there is what to go on from."""
    cfg = method(data, work_dir)
    cfg.merge_from_dict(changes)
    resume = bool(files_of(work_dir, *RESUMABLE))
    process = FORK.Process(
        target=_child, args=(cfg, resume, hurt, f'{work_dir}.log', nobody)
    )
    process.start()
    return process


def run(*args, status: int = 0, **kwargs) -> str:
    """A training to its end; its output."""
    process = start(*args, **kwargs)
    process.join()
    output = Path(f'{args[2]}.log').read_text()
    require(
        process.exitcode == status,
        f'status {process.exitcode} instead of {status}: {output}',
    )
    return output


def equal(work_dir: str, expected: dict) -> None:
    try:
        tiny_mar.assert_same(last_states(work_dir), expected)
    except AssertionError as error:
        raise Lost(f'{work_dir}: the weights differ: {error}') from error


@functools.cache
def whole_run(method: Callable, data: str) -> tuple[dict, float]:
    """The end of a training that nothing happens to, and its seconds."""
    with tempfile.TemporaryDirectory() as folder:
        begin = time.monotonic()
        run(method, data, f'{folder}/run')
        return last_states(f'{folder}/run'), time.monotonic() - begin


@functools.cache
def data_folder() -> str:
    """The images of all runs; removed at the end of the process."""
    folder = tempfile.TemporaryDirectory(prefix='faults-data-')
    data_folder.keep = folder
    tiny_mar.write_benchmark(folder.name)
    tiny_tj_aidl.write_attributes(f'{folder.name}/market_attribute.mat')
    for path in Path(folder.name).rglob('*'):
        path.chmod(0o755 if path.is_dir() else 0o644)
    os.chmod(folder.name, 0o755)
    return folder.name


# ---------------------------------------------------------------- kills


@fault('killed (SIGKILL) at a random moment of any stage', 100)
def killed(rounds: int, rng: random.Random, folder: str) -> Result:
    return _ended(rounds, rng, folder, signal.SIGKILL)


@fault('asked to stop (SIGTERM) at a random moment', 20)
def asked(rounds: int, rng: random.Random, folder: str) -> Result:
    return _ended(rounds, rng, folder, signal.SIGTERM)


def _ended(rounds, rng, folder, number) -> Result:
    data, lost, runs = data_folder(), 0, itertools.count()
    done = 0
    while done < rounds:
        method = METHODS[next(runs) % len(METHODS)]
        expected, seconds = whole_run(method, data)
        work_dir = f'{folder}/{done}'
        # At most five in a run, so that it ends.
        for _ in range(min(5, rounds - done)):
            process = start(method, data, work_dir)
            process.join(rng.uniform(0, seconds))
            if process.exitcode is not None:
                break
            os.kill(process.pid, number)
            process.join()
            done += 1
        try:
            run(method, data, work_dir)
            equal(work_dir, expected)
        except Lost as error:
            print(error, file=sys.stderr)
            lost += 1
        shutil.rmtree(work_dir)
    return Result('resumed, bit for bit as if never stopped', lost)


def _die_in_save(number: int, moment: str) -> None:
    """Let the process end within the so-and-so-many-th write of a file."""
    count = itertools.count(1)
    fsync, replace = os.fsync, os.replace

    def dying_fsync(descriptor):
        if next(count) == number and moment in ('written', 'half'):
            if moment == 'half':
                size = os.fstat(descriptor).st_size
                os.ftruncate(descriptor, size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        fsync(descriptor)

    counted = itertools.count(1)

    def dying_replace(source, target):
        hit = next(counted) == number
        if hit and moment == 'before the rename':
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)
        if hit and moment == 'after the rename':
            os.kill(os.getpid(), signal.SIGKILL)

    os.fsync, os.replace = dying_fsync, dying_replace


@fault('killed within a save', 24)
def killed_in_save(rounds: int, rng: random.Random, folder: str) -> Result:
    data, lost = data_folder(), 0
    moments = ['half', 'written', 'before the rename', 'after the rename']
    for index in range(rounds):
        method = METHODS[index % len(METHODS)]
        work_dir = f'{folder}/{index}'
        try:
            hurt = functools.partial(
                _die_in_save, rng.randint(1, 8), moments[index % 4]
            )
            run(method, data, work_dir, hurt=hurt, status=-signal.SIGKILL)
            run(method, data, work_dir)
            equal(work_dir, whole_run(method, data)[0])
        except Lost as error:
            print(error, file=sys.stderr)
            lost += 1
    return Result('the checkpoint before is whole; resumed bit for bit', lost)


@HOOKS.register_module(force=True)
class KillWorkerHook(Hook):
    """Ends a process that loads images."""

    def after_train_iter(self, runner, batch_idx, **kwargs) -> None:
        if batch_idx == 3:
            children = multiprocessing.active_children()
            os.kill(children[0].pid, signal.SIGKILL)


@fault('a loading process killed', 3)
def worker_killed(rounds: int, rng: random.Random, folder: str) -> Result:
    data = data_folder()
    for index in range(rounds):
        work_dir = f'{folder}/{index}'
        options = {'train_dataloader.num_workers': 2}
        output = run(
            mar, data, work_dir, status=1, **options,
            custom_hooks=[dict(type='KillWorkerHook')],
        )  # fmt: skip
        require('lower train_dataloader.num_workers' in output, output)
        run(mar, data, work_dir, **options)
        equal(work_dir, whole_run(mar, data)[0])
    return Result('one line that says what to do; resumed bit for bit')


@fault('one of two ranks killed', 2)
def rank_killed(rounds: int, rng: random.Random, folder: str) -> Result:
    def two(work_dir, *options, kill_at=None):
        cfg = mar(data_folder(), work_dir)
        cfg.custom_imports = dict(imports=['tiny_mar'])
        if kill_at is not None:
            cfg.custom_hooks = [
                dict(type='AskHook', at=kill_at, signal=9, rank=1)
            ]
        cfg.dump(f'{folder}/two.py')
        begin = time.monotonic()
        try:
            tiny_mar.run_two(
                'dist_train.sh', f'{folder}/two.py', 2, '--work-dir', work_dir,
                *options,
            )  # fmt: skip
        except AssertionError:
            if kill_at is None:
                raise
        return time.monotonic() - begin

    two(f'{folder}/whole')
    expected = last_states(f'{folder}/whole')
    slowest = 0.0
    for index in range(rounds):
        work_dir = f'{folder}/{index}'
        two(work_dir, kill_at=rng.randint(4, 12))
        require(last_states(work_dir)['iter'] < expected['iter'], 'not killed')
        slowest = max(slowest, two(work_dir, '--resume'))
        equal(work_dir, expected)
    return Result('the other rank ends too; resumed bit for bit')


# ------------------------------------------------------------- the disk


def _limit_files(size: int) -> None:
    """Let no file become larger."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def _mount_small(work_dir: str, kilobytes: int) -> None:
    """Give this process, and no other, a small file system there."""
    clone_newns = 0x20000
    if ctypes.CDLL(None, use_errno=True).unshare(clone_newns):
        raise OSError(ctypes.get_errno(), 'unshare')
    options = f'-t tmpfs -o size={kilobytes}k tmpfs {work_dir}'
    for command in ('mount --make-rprivate /', f'mount {options}'):
        subprocess.run(command.split(), check=True)


def _may_mount(folder: str) -> bool:
    process = FORK.Process(target=_mount_small, args=(folder, 64))
    process.start()
    process.join()
    return process.exitcode == 0


@fault('the disk is full', 3)
def disk_full(rounds: int, rng: random.Random, folder: str) -> Result:
    """A small file system where one may mount it, else small files."""
    data = data_folder()
    mounts = _may_mount(folder)
    for index in range(rounds):
        work_dir = f'{folder}/{index}'
        os.makedirs(work_dir)
        hurt = (
            functools.partial(_mount_small, work_dir, rng.randint(300, 900))
            if mounts
            else functools.partial(_limit_files, rng.randint(20_000, 100_000))
        )
        output = run(mar, data, work_dir, hurt=hurt, status=1)
        require('Cannot write' in output and work_dir in output, output)
        parts = [p for p in os.listdir(work_dir) if p.endswith('.part')]
        require(not parts, f'left behind: {parts}')
        run(mar, data, work_dir)
        equal(work_dir, whole_run(mar, data)[0])
    kind = 'a tmpfs below 1 MB' if mounts else 'a limit on the file size'
    return Result(f'{kind}: the error names the file; resumed bit for bit')


@fault('the work dir is read-only', 2)
def read_only(rounds: int, rng: random.Random, folder: str) -> Result:
    if os.getuid():
        return Result('skipped: needs root, to be somebody else')
    data = data_folder()
    for index in range(rounds):
        work_dir = f'{folder}/{index}'
        run(mar, data, work_dir)
        before = last_states(work_dir)
        for path in (*Path(work_dir).rglob('*'), Path(folder)):
            path.chmod(0o555 if path.is_dir() else 0o444)
        os.chmod(work_dir, 0o555)
        output = run(mar, data, work_dir, nobody=True, status=1)
        require('error: ' in output and work_dir in output, output)
        equal(work_dir, before)
        os.chmod(folder, 0o755)
    return Result('one line that names the file; nothing changed')


# -------------------------------------------------------- two at a time


@fault('two runs in one work dir', 5)
def two_runs(rounds: int, rng: random.Random, folder: str) -> Result:
    data = data_folder()
    for index in range(rounds):
        work_dir = f'{folder}/{index}'
        first = start(mar, data, work_dir)
        while not Path(work_dir, '.lock').exists():
            time.sleep(0.01)
        time.sleep(0.1 * rng.random())
        second = FORK.Process(
            target=_child,
            args=(mar(data, work_dir), False, None, f'{folder}/log', False),
        )
        second.start()
        second.join()
        output = Path(f'{folder}/log').read_text()
        first.join()
        require(
            (first.exitcode, second.exitcode) == (0, 1)
            and ('is in use by' in output or 'earlier run' in output),
            f'{first.exitcode}, {second.exitcode}: {output}',
        )
        equal(work_dir, whole_run(mar, data)[0])
    return Result('the second is refused, the first ends undisturbed')


def _build_cache(data: str, folder: str, barrier) -> None:
    from mmreid.datasets import Market1501

    barrier.wait()
    dataset = Market1501(
        data_root=f'{data}/source',
        cache_dir=folder,
        pipeline=[dict(type='LoadReIDImage'), dict(type='PackReIDInputs')],
    )
    total = sum(int(item['inputs'].sum()) for item in dataset)
    os._exit(0 if total == _build_cache.expected else 3)


@fault('two runs build one image cache', 10)
def two_caches(rounds: int, rng: random.Random, folder: str) -> Result:
    from mmreid.datasets import Market1501

    data = data_folder()
    plain = Market1501(
        data_root=f'{data}/source',
        pipeline=[dict(type='LoadReIDImage'), dict(type='PackReIDInputs')],
    )
    _build_cache.expected = sum(int(item['inputs'].sum()) for item in plain)
    for index in range(rounds):
        barrier = FORK.Barrier(2)
        processes = [
            FORK.Process(
                target=_build_cache, args=(data, f'{folder}/{index}', barrier)
            )
            for _ in range(2)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        codes = [process.exitcode for process in processes]
        require(codes == [0, 0], f'statuses {codes}')
        files = [p.suffix for p in Path(folder, str(index)).iterdir()]
        require(files.count('.npy') == 1 and '.part' not in files, str(files))
    return Result('one writes, the other waits; the same pixels')


# --------------------------------------------------------- files changed


@fault('the work dir is moved', 3)
def moved(rounds: int, rng: random.Random, folder: str) -> Result:
    data = data_folder()
    for index in range(rounds):
        method = METHODS[index % len(METHODS)]
        expected, seconds = whole_run(method, data)
        work_dir, there = f'{folder}/{index}', f'{folder}/elsewhere/{index}'
        process = start(method, data, work_dir)
        while process.exitcode is None and not files_of(work_dir, *RESUMABLE):
            process.join(0.01)
        process.kill()
        process.join()
        os.makedirs(f'{folder}/elsewhere', exist_ok=True)
        shutil.move(work_dir, there)
        run(method, data, there)
        equal(there, expected)
        require(not os.path.exists(work_dir), 'it wrote to the old place')
    return Result('resumed from where it is, bit for bit')


@fault('a bit flipped in the newest checkpoint', 60)
def flipped_checkpoint(rounds: int, rng: random.Random, folder: str) -> Result:
    data, harmless, lost = data_folder(), 0, 0
    work_dir = f'{folder}/run'
    run(mar, data, work_dir)
    newest, _ = find_resumable(work_dir)
    expected, content = last_states(work_dir), Path(newest).read_bytes()
    for _ in range(rounds):
        changed = bytearray(content)
        changed[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        Path(newest).write_bytes(changed)
        if find_resumable(work_dir)[0] == newest:
            harmless += 1
            try:
                equal(work_dir, expected)
            except Lost:
                lost += 1
    # The one before, from which a run ends with the same.
    changed = bytearray(content)
    changed[len(content) // 2] ^= 1
    Path(newest).write_bytes(changed)
    output = run(mar, data, work_dir, log_level='INFO')
    require('is passed over' in output, output)
    equal(work_dir, expected)
    return Result(
        f'{rounds - harmless} found and the one before taken, {harmless} in '
        'padding: the same weights',
        lost,
    )


@fault('a bit flipped in a file of features', 40)
def flipped_features(rounds: int, rng: random.Random, folder: str) -> Result:
    path = f'{folder}/features.npz'
    ids = torch.arange(8)
    sides = [FeatureSet(torch.randn(8, 5), ids, ids % 2) for _ in range(2)]
    save_features(path, *sides)
    content, found, lost = Path(path).read_bytes(), 0, 0
    for _ in range(rounds):
        changed = bytearray(content)
        changed[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        Path(path).write_bytes(changed)
        try:
            loaded = load_features(path)
        except USERS as error:
            found += path in str(error)
            lost += path not in str(error)
        else:
            for ours, theirs in zip(loaded, sides, strict=True):
                lost += not ours.features.equal(theirs.features)
                lost += not ours.person_id.equal(theirs.person_id)
    return Result(f'{found} found, the others harmless', lost)


@fault('a bit flipped in an image cache', 20)
def flipped_cache(rounds: int, rng: random.Random, folder: str) -> Result:
    from mmreid.datasets import Market1501

    def total() -> int:
        dataset = Market1501(
            data_root=f'{data_folder()}/source',
            cache_dir=folder,
            pipeline=[dict(type='LoadReIDImage'), dict(type='PackReIDInputs')],
        )
        return sum(int(item['inputs'].sum()) for item in dataset)

    expected, lost = total(), 0
    (path,) = Path(folder).glob('*.npy')
    content = path.read_bytes()
    for _ in range(rounds):
        changed = bytearray(content)
        changed[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
        lost += total() != expected or path.read_bytes() != content
    return Result('found when it is opened, and written anew', lost)


# -------------------------------------------------------------- the user


def png_of_one_colour(width: int, height: int) -> bytes:
    """A large image in a small file."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        end = struct.pack('>I', zlib.crc32(kind + data))
        return struct.pack('>I', len(data)) + kind + data + end

    packer, row = zlib.compressobj(1), bytes(1 + 3 * width)
    pixels = b''.join(packer.compress(row) for _ in range(height))
    head = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + b''.join(
        chunk(kind, data)
        for kind, data in (
            (b'IHDR', head),
            (b'IDAT', pixels + packer.flush()),
            (b'IEND', b''),
        )
    )


def bad_images(folder: str) -> dict[str, str]:
    """Files that are no images, by what is wrong with each."""
    image = np.random.default_rng(0).integers(0, 255, (32, 16, 3), np.uint8)
    content = cv2.imencode('.png', image)[1].tobytes()
    jpeg = cv2.imencode('.jpg', image)[1].tobytes()
    files = {
        'truncated PNG': content[: len(content) // 2],
        'truncated JPEG': jpeg[: len(jpeg) // 2],
        'zero bytes': b'',
        'text': b'no image\n',
        'random bytes': np.random.default_rng(1).bytes(999),
        'a bomb': png_of_one_colour(20_000, 20_000),
    }
    for number, (name, data) in enumerate(files.items()):
        files[name] = f'{folder}/{number}.png'
        Path(files[name]).write_bytes(data)
    return files


@fault('an image that is none', 7)
def images(rounds: int, rng: random.Random, folder: str) -> Result:
    files = bad_images(folder)
    files['a folder'] = f'{folder}/folder.png'
    os.mkdir(files['a folder'])
    Path(f'{folder}/good.png').write_bytes(
        cv2.imencode('.png', np.zeros((32, 16, 3), np.uint8))[1].tobytes()
    )
    lost = 0
    for name, path in list(files.items())[:rounds]:
        manifest = Path(f'{folder}/crops.csv')
        manifest.write_text(
            'path,person_id,camera_id\n'
            f'good.png,1,1\n{os.path.basename(path)},2,1\n'
        )
        try:
            dataset = ReIDManifest(
                str(manifest), pipeline=[dict(type='LoadReIDImage')]
            )
            for index in range(len(dataset)):
                dataset[index]
        except USERS as error:
            lost += path not in str(error)
        else:
            print(f'{name}: read', file=sys.stderr)
            lost += 1
    return Result('the error names the file and says what to do', lost)


@fault('a loss that is NaN', 3)
def no_number(rounds: int, rng: random.Random, folder: str) -> Result:
    data = data_folder()
    for index in range(rounds):
        work_dir = f'{folder}/{index}'
        rate = {
            'train_cfg.stages.main.optim_wrapper': dict(
                optimizer=dict(type='SGD', lr=1e30)
            )
        }
        output = run(mar, data, work_dir, status=1, **rate)
        path = Path(work_dir, 'not_finite.json')
        require(path.exists() and str(path) in output, output)
        run(mar, data, work_dir)
        equal(work_dir, whole_run(mar, data)[0])
    return Result("stops, names the batch's files; resumed bit for bit")


def _fuzz(rounds, rng, content: bytes, attempt: Callable) -> Result:
    """Change bytes, cut, repeat: only the users' errors may come of it."""
    refused = lost = 0
    seen = set()
    for _ in range(rounds):
        changed = bytearray(content)
        for _ in range(rng.randint(1, 8)):
            place = rng.randrange(len(changed) + 1)
            kind = rng.randrange(4)
            if kind == 0 and place < len(changed):
                changed[place] = rng.randrange(256)
            elif kind == 1:
                changed[place:place] = rng.randbytes(rng.randint(1, 5))
            elif kind == 2:
                del changed[place : place + rng.randint(1, 20)]
            else:
                end = place + rng.randint(1, 40)
                changed[place:place] = changed[place:end]
        try:
            attempt(bytes(changed))
        except USERS as error:
            refused += 1
            lost += not str(error).strip()
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            if (type(error), place.lineno) not in seen:
                seen.add((type(error), place.lineno))
                traceback.print_exc()
            lost += 1
    read = rounds - refused
    return Result(f'{refused} refused with one sentence, {read} read', lost)


@fault('a manifest with changed bytes', 1000)
def manifests(rounds: int, rng: random.Random, folder: str) -> Result:
    for name in 'abc':
        Path(f'{folder}/{name}.png').write_bytes(b'')
    path = Path(f'{folder}/crops.csv')

    def attempt(content: bytes) -> None:
        path.write_bytes(content)
        dataset = ReIDManifest(str(path))
        for index in range(len(dataset)):
            dataset.get_data_info(index)

    return _fuzz(
        rounds, rng,
        b'path,person_id,camera_id,split\na.png,1,1,train\n'
        b'b.png,2,1,train\nc.png,-1,2,train\n',
        attempt,
    )  # fmt: skip


@fault('an attribute file (.mat) with changed bytes', 300)
def mat_files(rounds: int, rng: random.Random, folder: str) -> Result:
    path = Path(f'{folder}/market_attribute.mat')
    tiny_tj_aidl.write_attributes(str(path))

    def attempt(content: bytes) -> None:
        path.write_bytes(content)
        read_attributes(str(path), 'market', 'train')

    return _fuzz(rounds, rng, path.read_bytes(), attempt)


@fault('a config with changed bytes', 300)
def configs(rounds: int, rng: random.Random, folder: str) -> Result:
    path = Path(f'{folder}/config.py')
    cfg = mar(data_folder(), f'{folder}/run')
    cfg.dump(str(path))

    def attempt(content: bytes) -> None:
        path.write_bytes(content)
        with contextlib.redirect_stdout(None):
            check_config(read_config(str(path)))

    return _fuzz(rounds, rng, path.read_bytes(), attempt)


# ---------------------------------------------------------------- leaks


@HOOKS.register_module(force=True)
class WatchHook(Hook):
    """Writes down memory (kB) and open files of the process."""

    def __init__(self, file: str, interval: int) -> None:
        self.file, self.interval = file, interval

    def after_train_iter(self, runner, batch_idx, **kwargs) -> None:
        if (batch_idx + 1) % self.interval:
            return
        pages = int(Path('/proc/self/statm').read_text().split()[1])
        kilobytes = pages * resource.getpagesize() // 1024
        handles = len(os.listdir('/proc/self/fd'))
        with open(self.file, 'a') as file:
            file.write(f'{kilobytes} {handles}\n')


def _watch(folder: str, rounds: int, saves: int) -> tuple[float, int]:
    """MB and open files that all but a tenth of a training adds."""
    file, interval = f'{folder}/watch{saves}', max(1, rounds // 10)
    run(
        mar, data_folder(), f'{folder}/run{saves}',
        **{
            'train_cfg.stages.main.max_epochs': None,
            'train_cfg.stages.main.max_iters': rounds,
            'train_cfg.stages.main.param_scheduler': [],
            'train_cfg.stages.main.optim_wrapper': dict(
                optimizer=dict(type='SGD', lr=1e-5)
            ),
            'train_dataloader.num_workers': 1,
            'default_hooks.checkpoint.interval': rounds // saves
            if saves
            else 10 * rounds,
            'default_hooks.checkpoint.max_keep_ckpts': 2,
            'default_hooks.logger.interval': interval,
            'custom_hooks': [
                dict(type='WatchHook', file=file, interval=interval)
            ],
        },
    )  # fmt: skip
    lines = [[*map(int, line.split())] for line in open(file)]
    # The second tenth has seen all that a run allocates once.
    (memory, handles), (first, opened) = lines[-1], lines[1]
    return (memory - first) / 1024, handles - opened


@fault('thousands of iterations', 3000)
def leaks(rounds: int, rng: random.Random, folder: str) -> Result:
    megabytes, handles = _watch(folder, rounds, 0)
    return Result(
        f'after a tenth of them {megabytes:+.1f} MB, {handles:+} open files',
        int(megabytes > 5 or handles > 0),
    )


@fault('dozens of saved checkpoints', 60)
def saves(rounds: int, rng: random.Random, folder: str) -> Result:
    megabytes, handles = _watch(folder, 10 * rounds, rounds)
    return Result(
        f'after a tenth of them {megabytes:+.1f} MB, {handles:+} open files',
        int(megabytes > 20 or handles > 0),
    )


def try_fault(name: str, part: float, seed: int) -> tuple[int, Result]:
    """So many of a fault's rounds, in a folder of their own."""
    rounds, function = FAULTS[name]
    rounds = max(1, round(rounds * part))
    with tempfile.TemporaryDirectory(prefix='faults-') as folder:
        os.chmod(folder, 0o755)
        try:
            return rounds, function(rounds, random.Random(seed), folder)
        except Lost as error:
            print(error, file=sys.stderr)
            return rounds, Result(str(error)[:200], 1)
        except Exception as error:
            traceback.print_exc()
            return rounds, Result(repr(error), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--only', nargs='+', default=[], metavar='NAME')
    parser.add_argument('--part', type=float, default=1.0)
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    names = [
        name
        for name in FAULTS
        if not args.only or any(part in name for part in args.only)
    ]
    print(f'Seed {args.seed}.\n\n| fault | rounds | outcome | lost | s |')
    print('| --- | --: | --- | --: | --: |', flush=True)
    total = 0
    for name in names:
        begin = time.monotonic()
        rounds, result = try_fault(name, args.part, args.seed)
        seconds = time.monotonic() - begin
        total += result.lost
        outcome = ' '.join(result.outcome.split())[:300]
        print(
            f'| {name} | {rounds} | {outcome} | {result.lost} | '
            f'{seconds:.0f} |',
            flush=True,
        )
    print(f'\nLost: {total}')
    sys.exit(int(total > 0))


if __name__ == '__main__':
    main()
