from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def requirements(name: str) -> list[str]:
    """The lines of requirements/<name>.txt that name a package."""
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines()
    return [line for line in lines if line and not line.startswith('#')]


version = {}
exec((ROOT / 'mmreid' / 'version.py').read_text(), version)

setup(
    name='mmreid',
    version=version['__version__'],
    description='Person re-identification on cameras that have no labels',
    long_description=(ROOT / 'README.md').read_text(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    packages=find_packages(include=['mmreid', 'mmreid.*']),
    # The mark of PEP 561: this package's annotations can be checked against.
    # Configs and tools: links in a checkout, copied into a wheel.
    package_data={'mmreid': ['py.typed', '.mim/*', '.mim/**/*']},
    entry_points=dict(console_scripts=['mmreid = mmreid.__main__:main']),
    python_requires='>=3.10,<3.13',
    install_requires=requirements('runtime'),
    extras_require={
        'docs': requirements('docs'),
        'optional': requirements('optional'),
        'tests': requirements('tests'),
    },
)
