"""Packaging shim: everything is declared in pyproject.toml; tools that still call setup.py find it here."""

from setuptools import setup

setup()
