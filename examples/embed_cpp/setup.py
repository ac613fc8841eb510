"""Builds `price_slide` against the installed perpcore: python setup.py build_ext --inplace."""

from setuptools import Extension, setup

import perpcore

setup(
    name="price_slide",
    version="1",
    py_modules=[],
    ext_modules=[
        Extension(
            "price_slide",
            ["price_slide.cpp"],
            include_dirs=[perpcore.get_include()],
            extra_compile_args=["-std=c++17", "-Wall", "-Wextra"],
            language="c++",
        )
    ],
)
