import pytest
from rich.console import Console

from mmreid.utils import progress as module
from mmreid.utils.progress import progress


class Clock:
    """Ten seconds pass in each step."""

    def __init__(self, monkeypatch, terminal):
        self.now = 0.0
        monkeypatch.setattr(module.time, 'monotonic', lambda: self.now)
        monkeypatch.setattr(
            module,
            'Console',
            lambda **kwargs: Console(
                **kwargs, force_terminal=terminal, width=80
            ),
        )

    def work(self, steps, seconds=10.0, **kwargs):
        with progress('Work', steps, **kwargs) as advance:
            for _ in range(steps):
                self.now += seconds
                advance()


def test_a_file_gets_a_line_each_half_minute(monkeypatch, capsys):
    Clock(monkeypatch, terminal=False).work(10)
    assert capsys.readouterr() == (
        '',
        'Work: 40 %, 0:01:00 left\nWork: 80 %, 0:00:20 left\n',
    )


def test_a_terminal_gets_a_bar_that_goes(monkeypatch, capsys):
    Clock(monkeypatch, terminal=True).work(10)
    out, err = capsys.readouterr()
    assert out == '' and 'Work' in err and '%' in err
    # The cursor is back, and the line erased.
    assert '\x1b[?25h' in err and err.endswith('\x1b[2K')


@pytest.mark.parametrize('terminal', [False, True])
def test_short_work_is_silent(terminal, monkeypatch, capsys):
    Clock(monkeypatch, terminal).work(10, seconds=0.1)
    assert capsys.readouterr() == ('', '')


def test_the_bar_goes_before_an_error_is_told(monkeypatch, capsys):
    clock = Clock(monkeypatch, terminal=True)
    with pytest.raises(ZeroDivisionError), progress('Work', 9) as advance:
        clock.now += 10
        advance()
        raise ZeroDivisionError
    assert capsys.readouterr().err.endswith('\x1b[2K')


def test_one_rank_speaks(monkeypatch, capsys):
    monkeypatch.setattr(module, 'is_main_process', lambda: False)
    clock = Clock(monkeypatch, terminal=False)
    clock.work(10)
    assert capsys.readouterr().err == ''
    clock.work(10, any_rank=True)
    assert '40 %' in capsys.readouterr().err
