"""The arithmetic of the gate: names, costs by function, the test."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelprof.gate.costs import REST, cost_table
from otelprof.gate.names import UNKNOWN, NameRules
from otelprof.gate.statistics import Noise, growth_test, holm, noise_of, winsorised
from tests.gate_programs import PERIOD, run_profile, stacks_of

STACKS = st.dictionaries(
    st.lists(st.sampled_from("abcdef"), min_size=1, max_size=6).map(tuple),
    st.integers(1, 50),
    min_size=1,
    max_size=12,
)


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("main.handle", "main.handle"),
        ("main.handle.func1", "main.handle.func1"),
        ("libc.so.6+0x1f2a", "libc.so.6"),
        ("0x7f00deadbeef", UNKNOWN),
        ("parse.isra.0", "parse"),
        ("parse.constprop.0.isra.3", "parse"),
        ("parse.cold", "parse"),
        ("parse.colder", "parse.colder"),
        ("core::fmt::write::h0123456789abcdef", "core::fmt::write"),
        ("com/shop/Cart.total_[j]", "com/shop/Cart.total"),
        ("Cart$$Lambda$14/0x00007f1c.apply", "Cart$$Lambda.apply"),
        ("Cart$$Lambda.0x00007f1c0800.apply", "Cart$$Lambda.apply"),
        ("jdk/proxy2/$Proxy17.call", "jdk/proxy2/$Proxy.call"),
        ("Cart.lambda$total$0", "Cart.lambda$total$0"),
        ("normalise.<locals>.<genexpr>", "normalise"),
        ("outer.<locals>.inner", "outer.<locals>.inner"),
        ("<genexpr>", "<genexpr>"),
    ],
)
def test_names(raw: str, name: str) -> None:
    """What varies from run to run is taken out of a name, and nothing else."""
    assert name == NameRules().name(raw)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("runtime.asyncPreempt", True),
        ("runtime.asyncPreempt2", True),
        ("runtime.mallocgc", False),
        ("do_futex_[k]", True),
        ("entry_SYSCALL_64_after_hwframe", True),
        ("entry", False),
    ],
)
def test_folded_frames(name: str, expected: bool) -> None:  # noqa: FBT001 - a table
    """Frames that say nothing of who is to blame are folded into their caller."""
    assert expected == NameRules().is_folded(name)


@given(st.lists(STACKS, min_size=2, max_size=4))
def test_costs_are_those_of_a_loop(runs: list[dict[tuple[str, ...], int]]) -> None:
    """Cumulative and own costs are those that a loop over stacks finds; recursion counts once."""
    table = cost_table([run_profile(run) for run in runs], NameRules(), min_share=0.0)
    for at, run in enumerate(runs):
        cumulative: Counter[str] = Counter()
        own: Counter[str] = Counter()
        for stack, count in run.items():
            own[stack[-1]] += count
            cumulative.update(dict.fromkeys(set(stack), count))
        found = dict(zip(table.functions, table.cumulative[:, at].tolist(), strict=True))
        assert {name: pytest.approx(cumulative[name]) for name in found} == found
        assert [pytest.approx(own[name]) for name in table.functions] == table.own[:, at].tolist()
        assert table.totals[at] == pytest.approx(sum(run.values()))


def test_small_functions_are_part_of_their_callers() -> None:
    """What a function costs that is too small stays with its nearest caller; what has none is the rest."""
    run = {("main", "tiny", "big"): 500, ("main", "tiny"): 1, ("main",): 498, ("dust",): 1}
    table = cost_table([run_profile(run)], NameRules(), min_share=0.6)
    costs = dict(zip(table.functions, table.cumulative[:, 0].tolist(), strict=True))

    assert {"main": 999.0, REST: 1.0} == costs
    assert 1000 == table.totals[0]


def test_stacks_end_at_folded_frames() -> None:
    """A frame that is folded takes all below it along; a stack of nothing else keeps its root."""
    run = {
        ("main", "work", "runtime.asyncPreempt"): 3,
        ("main", "work", "runtime.morestack", "runtime.newstack", "copy"): 2,
        ("runtime.morestack",): 1,
    }
    table = cost_table([run_profile(run)], NameRules(), min_share=0.0)

    assert {"main": 5, "work": 5, "runtime.morestack": 1} == {
        name: cost
        for name, cost in zip(table.functions, table.own[:, 0], strict=True)
        if name == "work" or cost
    } | {"main": 5}


def test_periods_make_no_difference() -> None:
    """Runs that were sampled half as often cost the same."""
    fine = run_profile({("main", "f"): 80, ("main",): 20})
    coarse = run_profile({("main", "f"): 40, ("main",): 10})
    object.__setattr__(coarse, "values", coarse.values * 2)
    table = cost_table([fine, coarse], NameRules(), min_share=0.0)

    assert table.totals[0] == pytest.approx(table.totals[1])
    assert 200 * PERIOD == fine.total + coarse.total


def test_stacks_of_a_run() -> None:
    """The generator's runs read back as what they were made of."""
    run = {("main", "f"): 3, ("main",): 1}

    assert run == stacks_of(run_profile(run))


def test_holm() -> None:
    """Adjusted p-values are by Holm's rule: the smallest by their number, none below one before."""
    assert [0.03, 0.06, 0.06, 0.02] == pytest.approx(holm(np.array([0.01, 0.04, 0.03, 0.005])).tolist())


def test_one_odd_run_is_pulled_in() -> None:
    """Of seven runs or more, one far from the others counts as where the others end; of fewer it stays."""
    row = [100.0, 101, 99, 102, 98, 100, 400]

    assert [135.0] == winsorised(np.array([row]))[:, -1].tolist()
    assert [400.0] == winsorised(np.array([row[1:]]))[:, -1].tolist()


def test_the_test_finds_what_grew() -> None:
    """Twice the samples are seen, the same samples are not, and fewer are not growth."""
    before = np.array([[100.0, 110, 90, 105, 95]] * 3)
    after = np.array([[200.0, 220, 180, 210, 190], [101, 109, 91, 104, 96], [50, 55, 45, 52, 48]])
    noise = noise_of(before, after)
    tested = growth_test(before, after, noise)

    assert [True, False, False] == (tested.p < 1e-4).tolist()
    assert [False, False, True] == (tested.p_of_fall < 1e-4).tolist()
    assert [1.0, 0.002, -0.5] == pytest.approx(tested.growth.tolist(), abs=1e-9)


def test_p_values_are_honest() -> None:
    """Of rows without a change, over-dispersed by 8 %, no more are below a p-value than it says."""
    random = np.random.default_rng(1)
    counts = random.poisson(200 * np.exp(random.normal(0, 0.08, (4000, 10)))).astype(float)
    before, after = counts[:, :5], counts[:, 5:]
    p = growth_test(before, after, noise_of(before, after)).p

    assert np.mean(p < 0.05) < 0.06
    assert np.mean(p < 0.001) < 0.002
    assert np.mean(p < 0.05) > 0.02


def test_power_and_the_smallest_mean_agree() -> None:
    """A function with the fewest samples that a growth needs is found as often as was asked for."""
    noise = Noise(0.05**2, 10, 10)
    mean = noise.smallest_mean(0.3, 0.01, 0.8)

    assert noise.power(0.3, mean, 0.01) == pytest.approx(0.8, abs=0.01)
    assert Noise(0.5, 3, 3).smallest_mean(0.3, 0.01, 0.8) == float("inf")
    assert noise.of_runs(3, 3).smallest_mean(0.3, 0.01, 0.8) > 3 * mean
