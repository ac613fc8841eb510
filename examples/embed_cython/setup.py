"""Builds `fund_stress` against the installed perpcore: python setup.py build_ext --inplace."""

from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

import perpcore

INCLUDE = Path(perpcore.get_include())
#: `cimport perpcore.book` looks for perpcore/book.pxd under this directory.
CIMPORT = INCLUDE.parents[1]

setup(
    name="fund_stress",
    version="1",
    py_modules=[],
    ext_modules=cythonize(
        Extension(
            "fund_stress",
            ["fund_stress.pyx"],
            include_dirs=[str(INCLUDE)],
            # Generated code must not rely on signed overflow, which C++ leaves undefined.
            extra_compile_args=["-std=gnu++17", "-fno-strict-overflow"],
            language="c++",
        ),
        include_path=[str(CIMPORT)],
        build_dir="build",
        compiler_directives={"language_level": 3, "cdivision": True, "boundscheck": False},
    ),
)
