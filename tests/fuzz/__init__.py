"""Inputs that nobody thought of: each parser, and the archive, must answer them in words.

Property-based tests with a small fixed budget run with the others (`test_targets.py`). For many
inputs, guided by what code they reach, see `__main__.py`.
"""
