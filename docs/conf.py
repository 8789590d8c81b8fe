"""The site of these pages: `make docs`.

Its source is the repository, not this folder, so that a link from a page to a
README, a config or a tool is right here and on GitHub: the first is a page of
the site, of the others the site has a copy.
"""

from pathlib import Path

from sphinx.util.nodes import make_refnode

ROOT = Path(__file__).resolve().parents[1]

project = 'mmreid'
copyright = 'The mmreid contributors'
version = release = (ROOT / 'mmreid/version.py').read_text().split("'")[1]

root_doc = 'docs/index'
include_patterns = [
    'docs/**',
    'configs/*/README.md',
    'benchmarks/results/*.md',
    'CHANGELOG.md',
    'CONTRIBUTING.md',
]
# Sphinx walks through all other folders, those of data included.
exclude_patterns = [
    entry.name
    for entry in ROOT.iterdir()
    if entry.name
    not in {pattern.split('/')[0] for pattern in include_patterns}
]
extensions = [
    'myst_parser',
    'sphinx.ext.autodoc',
    'sphinx.ext.napoleon',
    'sphinx.ext.viewcode',
]
myst_enable_extensions = ['dollarmath']
myst_heading_anchors = 3

highlight_language = 'none'  # of blocks that name none
smartquotes_action = 'De'  # dashes and ellipses: quotes are those of Python

html_theme = 'furo'
html_title = 'mmreid'
html_show_copyright = html_show_sphinx = False
# index.html of the site, which leads to the root document.
html_extra_path = ['_root']

autodoc_default_options = {'special-members': '__call__'}
autodoc_member_order = 'bysource'
# Docstrings say the types; signatures stay short.
autodoc_typehints = 'none'
napoleon_numpy_docstring = False
napoleon_use_ivar = True
# No inventory of other packages is fetched; names of ours must be right.
nitpick_ignore = [
    ('py:class', name)
    for name in (
        *('Config', 'Dataset', 'Images', 'Runner', 'Tensor', 'csr_array'),
        'optional',
    )
]
nitpick_ignore_regex = [
    ('py:.*', r'(argparse|mmcv|mmengine|mmpretrain|nn|np|torch)\..*'),
]


def without_modules(name):
    """The class and what is in it, or a function."""
    parts = name.split('.')
    is_member = len(parts) > 1 and parts[-2][0].isupper()
    return tuple(parts[-1 - is_member :])


def find_ours(app, env, node, content):
    """Find what a docstring names without its module, or by another one.

    Docstrings name a class as their code does, ``FeatureSet``. The site has
    it where users import it from, ``mmreid.structures.FeatureSet``.
    """
    if node.get('refdomain') != 'py':
        return None
    domain = env.get_domain('py')
    wanted = without_modules(node['reftarget'])
    found = {
        key: entry
        for key, entry in domain.objects.items()
        if without_modules(key) == wanted
        and not entry.aliased
        and entry.objtype != 'module'
    }
    if len(found) != 1:
        return None
    ((key, entry),) = found.items()
    return make_refnode(
        app.builder, node['refdoc'], entry.docname, entry.node_id, content, key
    )


def setup(app):
    app.connect('missing-reference', find_ours)
