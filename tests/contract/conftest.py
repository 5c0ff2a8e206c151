"""Asserts of the public contract suite show their values."""

import pytest

pytest.register_assert_rewrite("otelprof.testing.contract")
