"""The packages, and the one whose folder lies elsewhere; all else is in pyproject.toml, which cannot say both."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["simhand_cli", "simhand_cli.*"]), "simhand_cli.assets"],
    package_dir={"simhand_cli.assets": "assets"},
)
