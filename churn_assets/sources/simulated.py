"""A simulated telecom subscriber base that lives month by month, and whose true churn hazard is known.

A month's base is the month before it, minus those who left, plus those who joined, one month older; all draws of a
month come from streams seeded by (seed, month, purpose). So a month is settled by the configuration alone: neither the
order in which months are asked for nor the cache of recent months can change it, and no later month ever does.

``docs/simulator.md`` names the source of every constant here.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import OrderedDict
from dataclasses import dataclass, fields
from enum import IntEnum
from threading import Lock
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from churn_assets.errors import SourceError, SpecError
from churn_assets.months import Month
from churn_assets.sources import Delivery

VERSION: Final = "1"
"""Changes whenever the same configuration would give other rows."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

# ---- who the customers are; labels stand in the order of their codes ----
CONTRACTS: Final = ("month-to-month", "one-year", "two-year")
INTERNETS: Final = ("dsl", "fiber", "none")
PAYMENTS: Final = ("electronic check", "mailed check", "bank transfer", "credit card")
AGE_BANDS: Final = ("18-29", "30-44", "45-64", "65+")
REGIONS: Final = ("central", "east", "north", "south", "west")
MONTHLY, ONE_YEAR, TWO_YEAR = range(3)
DSL, FIBER, NO_INTERNET = range(3)
TERM_MONTHS: Final = np.array([0, 12, 24])

AGE_SHARES: Final = (0.22, 0.33, 0.288, 0.162)
REGION_SHARES: Final = (0.30, 0.22, 0.16, 0.18, 0.14)
PAYMENT_SHARES: Final = ((0.42, 0.22, 0.18, 0.18), (0.24, 0.23, 0.26, 0.27), (0.14, 0.25, 0.30, 0.31))  # by contract
PAPERLESS_SHARES: Final = np.array([0.54, 0.76, 0.30])  # by internet
ADD_ON_SHARES: Final = np.array([0.26, 0.45, 0.60])  # by contract, each add-on of an internet customer

# Rows: internet; columns: contract. How customers join, and the mix that joining and leaving settle into.
ENTRY_MIX: Final = np.array([[0.195, 0.085, 0.040], [0.345, 0.095, 0.030], [0.105, 0.065, 0.040]])
STEADY_MIX: Final = np.array([[0.195, 0.085, 0.040], [0.345, 0.095, 0.030], [0.105, 0.065, 0.040]])
# Tenure in months at the deciles 0, 10, ... 100% of the settled base, one row per contract.
STEADY_TENURE: Final = np.array([[1, 3, 5, 8, 12, 17, 23, 32, 44, 65, 160], [1, 4, 8, 12, 18, 25, 33, 43, 56, 78, 180], [1, 6, 12, 19, 27, 37, 50, 66, 87, 120, 240]], dtype=float)
STEADY_FRAILTY: Final = np.array([0.0, 0.0, 0.0])  # mean by contract: the frail have left

# ---- why they leave: log odds of leaving next month ----
INTERCEPT: Final = -4.45
TENURE_MONTHS: Final = np.array([1.0, 2.0, 3.0, 4.0, 6.0, 12.0, 24.0])
TENURE_RATES: Final = np.array([0.0981, 0.0370, 0.0309, 0.0288, 0.0196, 0.0175, 0.0140])
TENURE_LOG_ODDS: Final = np.log(TENURE_RATES / (1 - TENURE_RATES)) - math.log(0.0140 / 0.9860)
IN_TERM_LOG_ODDS: Final = np.array([0.0, -0.75, -1.70])  # by contract, before its last month
RENEWAL_RATES: Final = np.array([0.114, 0.048, 0.040, 0.025])  # first, second, third, later
RENEWAL_LOG_ODDS: Final = np.log(RENEWAL_RATES / (1 - RENEWAL_RATES)) - math.log(0.0140 / 0.9860)
INTERNET_LOG_ODDS: Final = np.log([1.0, 2.562, 0.431])
PAYMENT_LOG_ODDS: Final = np.log([1.35, 0.912, 1.0, 1.0])
PAPERLESS_LOG_ODDS: Final = math.log(1.419)
SECURITY_LOG_ODDS: Final = math.log(0.728)
SUPPORT_LOG_ODDS: Final = math.log(0.759)
SENIOR_LOG_ODDS: Final = math.log(1.24)
MANY_CALLS: Final = 4
MANY_CALLS_LOG_ODDS: Final = math.log(2.6)
CALLS_RISING_LOG_ODDS: Final = 0.18  # per call above the mean of the two months before, up to 4
COMPLAINT_LOG_ODDS: Final = np.array([math.log(5.5), math.log(3.0), math.log(1.8)])  # this month, one ago, two ago
USAGE_HALVED_LOG_ODDS: Final = np.array([math.log(3.4), math.log(2.0), math.log(2.0)])  # per halving, by contract
PRICE_RISE_LOG_ODDS: Final = np.array([5.0, 1.5, 1.5])  # per 100% of rises in the last three months, by contract
FAILURE_LOG_ODDS: Final = 0.55
FAILURE_AGAIN_LOG_ODDS: Final = 0.50
ABSENCE_LOG_ODDS: Final = 0.30  # per e-fold of 1 + days since login / 10
FRAILTY_SD: Final = 0.30
# KKBox's monthly rates of 2016-04 to 2017-02 over their mean; March, which its shock hides, is taken as 1.
SEASON: Final = np.log([1.085, 0.968, 1.0, 1.112, 1.021, 0.959, 0.947, 0.962, 0.997, 0.953, 0.903, 1.109])
MONTH_NOISE_SD: Final = 0.04
SHOCK_LOG_ODDS: Final = np.array([0.75, 0.45, 0.35])  # by contract

# ---- how they live ----
JOIN_RATE: Final = 0.0315
"""Newcomers a month per customer of the first month."""
GROWTH: Final = 0.002
"""Growth of the number of newcomers per month."""
JOIN_SEASON: Final = np.array([0.97, 0.95, 0.98, 0.98, 0.99, 1.0, 1.0, 1.02, 1.06, 1.02, 1.06, 0.97])
USAGE_SEASON: Final = np.array([1.05, 1.02, 1.01, 1.0, 0.98, 0.96, 0.94, 0.95, 0.99, 1.01, 1.03, 1.06])
SETTLING_MONTHS: Final = 12
"""Months lived before the first one, so that trends and terms are under way when it begins."""
LIST_PRICES: Final = np.array([45.0, 70.0, 20.0])  # by internet
ADD_ON_PRICE: Final = 5.5
REPRICING: Final = np.array([0.045, 0.070, 0.030])  # mean yearly rise out of contract, by internet
FAILURE_RATES: Final = np.array([0.035, 0.040, 0.012, 0.015])  # by payment


class Purpose(IntEnum):
    """What a stream of random numbers is for; a stream's number never changes."""

    MARKET = 0
    FOUNDING = 1
    JOINING = 2
    LEAVING = 3
    CONTRACT = 4
    PRICE = 5
    USAGE = 6
    SERVICE = 7
    PAYMENT = 8


def _stream(seed: int, month: Month, purpose: Purpose) -> np.random.Generator:
    """The random numbers of one purpose in one month."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, month.ordinal, purpose])))


@dataclass(frozen=True, slots=True)
class _Base:
    """Customers active at the start of a month, as known at its end, in the order of their numbers.

    Every array's last axis is the customers; the first axis of a two-dimensional one is months back (0 = this month).
    """

    number: Ints
    tenure: Ints
    age: Ints
    region: Ints
    contract: Ints
    months_left: Ints  # -1 without a contract
    renewals: Ints
    internet: Ints
    payment: Ints
    paperless: Bools
    security: Bools
    support: Bools
    extras: Ints
    price: Floats
    price_change: Floats
    total: Floats
    data_level: Floats  # GB in an ordinary month
    call_level: Floats  # minutes in an ordinary month
    call_need: Floats  # support calls in an ordinary month
    frailty: Floats
    engagement: Floats  # log of usage over its level
    fading: Bools
    trouble: Bools
    data_gb: Floats
    minutes: Floats
    days_since_login: Ints
    usage: Floats  # (4, n) data, or minutes without internet
    calls: Ints  # (3, n)
    complaints: Ints  # (3, n)
    rises: Floats  # (3, n) price rises as fractions
    failures: Ints  # (2, n)
    churned: Bools

    def __len__(self) -> int:
        return len(self.number)

    def keep(self, which: Bools) -> _Base:
        """The customers for whom ``which`` is true."""
        return _Base(**{f.name: getattr(self, f.name)[..., which] for f in fields(self)})

    def joined_by(self, newcomers: _Base) -> _Base:
        """These customers, then ``newcomers``."""
        pairs = ((f.name, getattr(self, f.name), getattr(newcomers, f.name)) for f in fields(self))
        return _Base(**{name: np.concatenate([old, new], axis=-1) for name, old, new in pairs})

    def changed(self, **arrays: NDArray[Any]) -> _Base:
        """The same customers with other values."""
        return _Base(**{f.name: arrays.get(f.name, getattr(self, f.name)) for f in fields(self)})


def _drawn(rng: np.random.Generator, shares: NDArray[np.float64], group: Ints) -> Ints:
    """A code per customer, drawn by the row of ``shares`` that ``group`` names."""
    bounds = np.cumsum(shares, axis=-1)[:, :-1]
    chance = rng.random(len(group))
    return np.asarray((chance[:, None] >= bounds[group]).sum(axis=1), dtype=np.int64)


def _newcomers(rng: np.random.Generator, count: int, mix: NDArray[np.float64]) -> _Base:
    """``count`` customers before their first month, with contract and internet drawn from ``mix``."""
    pair = _drawn(rng, (mix / mix.sum()).reshape(1, -1), np.zeros(count, dtype=np.int64))
    internet, contract = pair // 3, pair % 3
    online = internet != NO_INTERNET
    region = _drawn(rng, np.array([REGION_SHARES]), np.zeros(count, dtype=np.int64))
    age = _drawn(rng, np.array([AGE_SHARES]), np.zeros(count, dtype=np.int64))
    security = online & (rng.random(count) < ADD_ON_SHARES[contract])
    support = online & (rng.random(count) < ADD_ON_SHARES[contract])
    extras = np.where(online, rng.binomial(3, 0.15 + ADD_ON_SHARES[contract] / 2), 0)
    add_ons = security.astype(np.int64) + support + extras
    price = (LIST_PRICES[internet] + ADD_ON_PRICE * add_ons) * np.exp(rng.normal(0.0, 0.05, count))
    data_level = np.where(internet == FIBER, 210.0, 95.0) * np.exp(rng.normal(0.0, 0.5, count) - 0.22 * (age - 1))
    zeros, nothing, nobody = np.zeros(count, dtype=np.int64), np.zeros(count), np.zeros(count, dtype=bool)
    return _Base(
        number=zeros,
        tenure=zeros,
        age=age,
        region=region,
        contract=contract,
        months_left=np.where(contract == MONTHLY, -1, TERM_MONTHS[contract]),
        renewals=zeros,
        internet=internet,
        payment=_drawn(rng, np.array(PAYMENT_SHARES), contract),
        paperless=rng.random(count) < PAPERLESS_SHARES[internet],
        security=security,
        support=support,
        extras=extras,
        price=np.round(price, 2),
        price_change=nothing,
        total=nothing,
        data_level=np.where(online, data_level, np.nan),
        call_level=330.0 * np.exp(rng.normal(0.0, 0.55, count) + 0.12 * (age - 1)),
        call_need=rng.gamma(1.5, 0.28, count) * np.where(internet == FIBER, 1.25, 0.9),
        frailty=rng.normal(0.0, FRAILTY_SD, count),
        engagement=rng.normal(0.0, 0.15, count),
        fading=nobody,
        trouble=nobody,
        data_gb=nothing,
        minutes=nothing,
        days_since_login=zeros,
        usage=np.zeros((4, count)),
        calls=np.zeros((3, count), dtype=np.int64),
        complaints=np.zeros((3, count), dtype=np.int64),
        rises=np.zeros((3, count)),
        failures=np.zeros((2, count), dtype=np.int64),
        churned=nobody,
    )


def _founders(seed: int, month: Month, count: int) -> _Base:
    """``count`` customers with the contracts, tenures and terms of a base that has settled."""
    rng = _stream(seed, month, Purpose.FOUNDING)
    base = _newcomers(rng, count, STEADY_MIX)
    knots = np.linspace(0.0, 1.0, STEADY_TENURE.shape[1])
    spread = rng.random(count)
    by_contract = [np.interp(spread, knots, row) for row in STEADY_TENURE]
    tenure = np.choose(base.contract, by_contract).astype(np.int64)
    term = TERM_MONTHS[base.contract]
    elapsed = 1 + (rng.random(count) * np.minimum(term, tenure)).astype(np.int64)
    committed = base.contract != MONTHLY
    trouble = rng.random(count) < 0.05
    return base.changed(
        tenure=tenure,
        months_left=np.where(committed, np.maximum(term - elapsed, 0), -1),
        renewals=np.where(committed, np.maximum(tenure - elapsed, 0) // np.maximum(term, 1), 0),
        total=np.round(base.price * tenure * 0.92, 2),
        frailty=base.frailty + STEADY_FRAILTY[base.contract],
        trouble=trouble,
        usage=np.broadcast_to(np.where(base.internet == NO_INTERNET, base.call_level, base.data_level), (4, count)),
    )


def _market_log_odds(seed: int, month: Month, shock: Month | None, contract: Ints) -> Floats:
    """What the month itself does to everyone: season, chance and a competitor's offer."""
    everyone = SEASON[month.number - 1] + MONTH_NOISE_SD * _stream(seed, month, Purpose.MARKET).standard_normal()
    return np.full(len(contract), everyone) + (SHOCK_LOG_ODDS[contract] if month == shock else 0.0)


def _commitment_log_odds(base: _Base) -> Floats:
    """Short tenure counts without a contract; with one, its term protects and its end is a decision."""
    settling = np.interp(base.tenure, TENURE_MONTHS, TENURE_LOG_ODDS)
    ending = RENEWAL_LOG_ODDS[np.minimum(base.renewals, len(RENEWAL_LOG_ODDS) - 1)]
    in_term = IN_TERM_LOG_ODDS[base.contract]
    return np.where(base.contract == MONTHLY, settling, np.where(base.months_left == 0, ending, in_term))


def _profile_log_odds(base: _Base) -> Floats:
    """What a customer has bought and how it is paid."""
    return (
        INTERNET_LOG_ODDS[base.internet]
        + PAYMENT_LOG_ODDS[base.payment]
        + PAPERLESS_LOG_ODDS * base.paperless
        + SECURITY_LOG_ODDS * base.security
        + SUPPORT_LOG_ODDS * base.support
        + SENIOR_LOG_ODDS * (base.age == len(AGE_BANDS) - 1)
    )


def _experience_log_odds(base: _Base) -> Floats:
    """What happened lately: usage, calls, complaints, prices, payments."""
    halvings = np.clip(-np.log2((base.usage[0] + 1.0) / (base.usage[3] + 1.0)), 0.0, 1.5)
    risen_calls = np.clip(base.calls[0] - base.calls[1:].mean(axis=0), 0.0, 4.0)
    return (
        USAGE_HALVED_LOG_ODDS[base.contract] * halvings
        + MANY_CALLS_LOG_ODDS * (base.calls[0] >= MANY_CALLS)
        + CALLS_RISING_LOG_ODDS * risen_calls
        + (COMPLAINT_LOG_ODDS[:, None] * (base.complaints > 0)).max(axis=0)
        + PRICE_RISE_LOG_ODDS[base.contract] * base.rises.sum(axis=0)
        + FAILURE_LOG_ODDS * (base.failures[0] > 0)
        + FAILURE_AGAIN_LOG_ODDS * (base.failures > 0).all(axis=0)
        + ABSENCE_LOG_ODDS * np.log1p(base.days_since_login / 10.0)
    )


def _hazard(base: _Base, seed: int, month: Month, shock: Month | None) -> Floats:
    """P(leaves during ``month``) for each customer of the base at the end of the month before."""
    log_odds = (
        INTERCEPT
        + _commitment_log_odds(base)
        + _profile_log_odds(base)
        + _experience_log_odds(base)
        + base.frailty
        + _market_log_odds(seed, month, shock, base.contract)
    )
    return np.asarray(1.0 / (1.0 + np.exp(-log_odds)))


def _with_contracts(base: _Base, rng: np.random.Generator) -> _Base:
    """Terms run down; ended ones are renewed, changed or left to run on by the month; some commit anew."""
    ended = base.months_left == 0
    chance = rng.random(len(base))
    commits = (base.contract == MONTHLY) & (base.tenure > 2) & (chance < 0.010)
    renewed = ended & (chance < 0.74)
    other_term = rng.random(len(base)) < 0.15
    swapped = np.where(base.contract == ONE_YEAR, TWO_YEAR, ONE_YEAR)
    contract = np.where(renewed & other_term, swapped, base.contract)
    contract = np.where(ended & ~renewed, MONTHLY, contract)
    contract = np.where(commits, np.where(rng.random(len(base)) < 0.7, ONE_YEAR, TWO_YEAR), contract)
    fresh = renewed | commits
    running = np.where(contract == MONTHLY, -1, base.months_left - 1)
    return base.changed(
        contract=contract,
        months_left=np.where(fresh, TERM_MONTHS[contract] - 1, running),
        renewals=np.where(contract == MONTHLY, 0, base.renewals + renewed),
    )


def _with_prices(base: _Base, before: _Base, rng: np.random.Generator, month: Month) -> _Base:
    """Out of contract, each region's product is repriced once a year; a contract's price moves when its term ends."""
    due = (base.region * 3 + base.internet) * 5 % 12 == month.number - 1
    repriced = due & (base.contract == MONTHLY)
    term_over = before.months_left == 0
    size = np.clip(rng.normal(REPRICING[base.internet], 0.03), 0.0, 0.20) + 0.05 * (base.contract == MONTHLY) * term_over
    rise = np.where((repriced | term_over) & (base.tenure > 1), size, 0.0)
    price = np.round(base.price * (1.0 + rise), 2)
    return base.changed(
        price=price,
        price_change=np.round(price - base.price, 2),
        rises=np.concatenate([rise[None], base.rises[:-1]]),
    )


def _with_usage(base: _Base, rng: np.random.Generator, month: Month) -> _Base:
    """Usage wanders about each customer's level; now and then someone fades away for months."""
    n = len(base)
    chance = rng.random(n)
    upset = (base.complaints[0] > 0) | (base.rises[0] > 0.06)
    fading = np.where(base.fading, chance < 0.75, chance < np.where(upset, 0.06, 0.014))
    engagement = 0.88 * base.engagement - 0.30 * fading + rng.normal(0.0, 0.07, n)
    season = USAGE_SEASON[month.number - 1]
    data = base.data_level * season * np.exp(engagement + rng.normal(0.0, 0.09, n))
    minutes = base.call_level * season * np.exp(0.9 * engagement + rng.normal(0.0, 0.09, n))
    absent = np.minimum(rng.exponential(4.0, n) * np.exp(-1.3 * engagement), 90.0)
    data, minutes = np.round(data, 2), np.round(minutes, 1)
    now = np.where(base.internet == NO_INTERNET, minutes, data)
    usage = np.concatenate([now[None], base.usage[:-1]])
    return base.changed(
        fading=fading,
        engagement=engagement,
        data_gb=data,
        minutes=minutes,
        days_since_login=absent.astype(np.int64),
        usage=np.where(base.tenure == 1, now, usage),
    )


def _with_service(base: _Base, rng: np.random.Generator) -> _Base:
    """Faults last a while; while one lasts, the customer calls and may complain."""
    n = len(base)
    begins = np.where(base.internet == FIBER, 0.026, 0.018)
    trouble = rng.random(n) < np.where(base.trouble, 0.60, begins)
    calls = rng.poisson(base.call_need + 2.5 * trouble)
    complaints = (rng.random(n) < np.where(trouble, 0.08, 0.002)).astype(np.int64)
    return base.changed(
        trouble=trouble,
        calls=np.concatenate([calls[None], base.calls[:-1]]),
        complaints=np.concatenate([complaints[None], base.complaints[:-1]]),
    )


def _with_payments(base: _Base, rng: np.random.Generator) -> _Base:
    """A payment that failed once is likely to fail again; the month's bill is added to the total."""
    rate = np.where(base.failures[0] > 0, 0.30, FAILURE_RATES[base.payment])
    failures = (rng.random(len(base)) < rate).astype(np.int64)
    failures += failures * (rng.random(len(base)) < 0.25)
    return base.changed(
        failures=np.concatenate([failures[None], base.failures[:-1]]),
        total=np.round(base.total + base.price, 2),
    )


def _cut_short(base: _Base, rng: np.random.Generator) -> _Base:
    """Who leaves uses only the days until then."""
    share = np.where(base.churned, rng.random(len(base)), 1.0)
    return base.changed(data_gb=np.round(base.data_gb * share, 2), minutes=np.round(base.minutes * share, 1))


def _lived(before: _Base, source: SimulatedSource, month: Month, joining: int | None = None) -> _Base:
    """The base of ``month``, from the base of the month before it."""
    leaving = _stream(source.seed, month, Purpose.LEAVING)
    stayed = before.keep(~before.churned)
    left = leaving.random(len(stayed)) < _hazard(stayed, source.seed, month, source.shock)
    rng = _stream(source.seed, month, Purpose.JOINING)
    if joining is None:
        growth = (1.0 + GROWTH) ** (month - source.start)
        joining = int(rng.poisson(source.customers * JOIN_RATE * JOIN_SEASON[month.number - 1] * growth))
    new = _newcomers(rng, joining, ENTRY_MIX)
    highest = int(before.number[-1]) if len(before) else 0
    base = stayed.changed(churned=left).joined_by(new.changed(number=highest + 1 + np.arange(joining)))
    base = base.changed(tenure=base.tenure + 1)
    base = _with_prices(_with_contracts(base, _stream(source.seed, month, Purpose.CONTRACT)), base, _stream(source.seed, month, Purpose.PRICE), month)
    base = _with_service(base, _stream(source.seed, month, Purpose.SERVICE))
    base = _with_usage(base, _stream(source.seed, month, Purpose.USAGE), month)
    base = _with_payments(base, _stream(source.seed, month, Purpose.PAYMENT))
    return _cut_short(base, leaving)


def _first_base(source: SimulatedSource) -> _Base:
    """The base of the first month: founders who lived a while, each leaver replaced."""
    month = source.start + -SETTLING_MONTHS
    base = _founders(source.seed, month, source.customers)
    order = np.argsort(-base.tenure, kind="stable")
    base = base.keep(order).changed(number=np.arange(source.customers))
    while month <= source.start:
        base = _lived(base, source, month, joining=int(base.churned.sum()))
        month = month + 1
    return base.changed(number=1 + np.arange(len(base)))
