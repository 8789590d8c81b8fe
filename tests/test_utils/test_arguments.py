import argparse

import pytest

from mmreid.utils import OptionAction, picture_path, whole_number


@pytest.fixture
def parser():
    parser = argparse.ArgumentParser()
    parser.add_argument('--num', type=whole_number(1))
    parser.add_argument('--out', type=picture_path)
    parser.add_argument('--cfg-options', nargs='+', action=OptionAction)
    return parser


def test_arguments(parser):
    args = parser.parse_args(
        ['--num', '3', '--cfg-options', 'a.b=1', "c=['d=e']"]
    )
    assert args.num == 3
    assert args.cfg_options == {'a.b': 1, 'c': ['d=e']}


@pytest.mark.parametrize('num', ['0', '-1', '1.5', 'two'])
def test_no_whole_number(parser, capsys, num):
    with pytest.raises(SystemExit):
        parser.parse_args([f'--num={num}'])
    error = capsys.readouterr().err
    assert f"must be a whole number, 1 or more, got '{num}'" in error


@pytest.mark.parametrize('path', ['ranks.foo', 'ranks', 'png'])
def test_no_picture(parser, capsys, path):
    assert parser.parse_args(['--out', 'a/b.PNG']).out == 'a/b.PNG'
    with pytest.raises(SystemExit):
        parser.parse_args(['--out', path])
    assert f"'{path}' must end with one of .png" in capsys.readouterr().err


@pytest.mark.parametrize('options', [['a', '=', '3'], ['a'], ['=3']])
def test_no_setting(parser, capsys, options):
    with pytest.raises(SystemExit):
        parser.parse_args(['--cfg-options', *options])
    error = capsys.readouterr().err
    assert f"--cfg-options: '{options[0]}' is no KEY=VALUE" in error
