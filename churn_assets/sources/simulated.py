"""A simulated telecom subscriber base that lives month by month, and whose true churn hazard is known.

A month's base is the month before it, minus those who left, plus those who joined, one month older; all draws of a
month come from streams seeded by (seed, month, purpose). So a month is settled by the configuration alone: neither the
order in which months are asked for nor the cache of recent months can change it, and no later month ever does.

Scenarios are what happens to the base: incidents that begin in a month, and a seasonal swing.

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
from typing import Any, Final, TypeVar

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from churn_assets.errors import SourceError, SpecError
from churn_assets.months import Month
from churn_assets.sources import Delivery
from churn_assets.spec.scenario import BrokenColumn, CompetitorShock, NewChannel, PriceRise, Scenario, Seasonal

VERSION: Final = "1"
"""Changes whenever the same configuration would give other rows."""

BATCH_ROWS: Final = 131_072
EPOCH_ORDINAL: Final = Month(1970, 1).ordinal

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Happening = TypeVar("Happening", bound=Scenario)

# ---- who the customers are; labels stand in the order of their codes ----
CONTRACTS: Final = ("month-to-month", "one-year", "two-year")
INTERNETS: Final = ("dsl", "fiber", "none")
PAYMENTS: Final = ("electronic check", "mailed check", "bank transfer", "credit card", "mobile wallet")
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
ENTRY_MIX: Final = np.array([[0.185, 0.080, 0.040], [0.425, 0.120, 0.040], [0.060, 0.030, 0.020]])
STEADY_MIX: Final = np.array([[0.177, 0.073, 0.066], [0.226, 0.101, 0.093], [0.147, 0.055, 0.062]])
# Tenure in months at the deciles 0, 10, ... 100% of the settled base, one row per contract.
STEADY_TENURE: Final = np.array(
    [
        [1.0, 3.0, 6.0, 11.0, 18.0, 26.0, 35.0, 45.0, 58.0, 80.0, 160.0],
        [1.0, 3.0, 6.0, 10.0, 14.0, 20.0, 28.0, 37.0, 50.0, 74.0, 160.0],
        [1.0, 7.0, 14.0, 20.0, 26.0, 33.0, 41.0, 51.0, 68.0, 95.0, 200.0],
    ]
)
STEADY_FRAILTY: Final = np.array([-0.058, -0.03, -0.025])  # mean by contract: the frail have left

# ---- why they leave: log odds of leaving next month ----
INTERCEPT: Final = -4.46
TENURE_MONTHS: Final = np.array([1.0, 2.0, 3.0, 4.0, 6.0, 12.0, 24.0])
TENURE_RATES: Final = np.array([0.0780, 0.0270, 0.0235, 0.0220, 0.0175, 0.0155, 0.0130])
REFERENCE_LOG_ODDS: Final = math.log(0.0130 / 0.9870)
TENURE_LOG_ODDS: Final = np.log(TENURE_RATES / (1 - TENURE_RATES)) - REFERENCE_LOG_ODDS
IN_TERM_LOG_ODDS: Final = np.array([0.0, -0.62, -2.00])  # by contract, before its last month
RENEWAL_RATES: Final = np.array([0.055, 0.023, 0.019, 0.013])  # first, second, third, later
RENEWAL_LOG_ODDS: Final = np.log(RENEWAL_RATES / (1 - RENEWAL_RATES)) - REFERENCE_LOG_ODDS
INTERNET_LOG_ODDS: Final = np.log([1.0, 2.562, 0.431])
PAYMENT_LOG_ODDS: Final = np.log([1.35, 0.912, 1.0, 1.0, 1.0])
PAPERLESS_LOG_ODDS: Final = math.log(1.419)
SECURITY_LOG_ODDS: Final = math.log(0.728)
SUPPORT_LOG_ODDS: Final = math.log(0.759)
SENIOR_LOG_ODDS: Final = math.log(1.24)
MANY_CALLS: Final = 4
MANY_CALLS_LOG_ODDS: Final = math.log(2.2)
CALLS_RISING_LOG_ODDS: Final = 0.20  # per call above the mean of the two months before, up to 4
COMPLAINT_LOG_ODDS: Final = np.array([math.log(10.5), math.log(5.0), math.log(2.6)])  # this month, one ago, two ago
USAGE_HALVED_LOG_ODDS: Final = np.array([math.log(3.6), math.log(2.2), math.log(2.2)])  # per halving, by contract
PRICE_RISE_LOG_ODDS: Final = np.array([6.0, 2.0, 2.0])  # per 100% of rises in the last three months, by contract
FAILURE_LOG_ODDS: Final = 0.55
FAILURE_AGAIN_LOG_ODDS: Final = 0.50
ABSENCE_LOG_ODDS: Final = 0.20  # per e-fold of 1 + days since login / 10
FRAILTY_SD: Final = 0.30
# KKBox's rates of January to December; March, which its shock of 2016 hides, stands at the others' mean.
SEASON_RATES: Final = np.array(
    [0.0369, 0.0329, 0.0340, 0.0378, 0.0347, 0.0326, 0.0322, 0.0327, 0.0339, 0.0324, 0.0307, 0.0377]
)
SEASON: Final = np.log(SEASON_RATES / SEASON_RATES.mean())
MONTH_NOISE_SD: Final = 0.04
SHOCK_LOG_ODDS: Final = np.array([0.82, 0.50, 0.40])  # by contract

# ---- how they live ----
JOIN_RATE: Final = 0.0325
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
FADING_RATES: Final = (0.035, 0.110)
"""Customers who begin to use less, a month: ordinarily, and after a complaint or a price rise above 6%."""
COMMIT_RATE: Final = 0.008
"""Customers without a contract who sign one, a month."""
RENEW_RATE: Final = 0.70
"""Ended contracts that are renewed; the rest run on by the month."""
UPGRADE_RATE: Final = 0.012
"""DSL customers who move to fibre, a month."""
DATA_LEVELS: Final = np.array([95.0, 210.0, np.nan])  # by internet
"""Median GB a month."""
DISCOUNT_LOST: Final = 0.05
"""Rise when a contract ends and isn't renewed, on top of the yearly one."""
FAILURE_RATES: Final = np.array([0.035, 0.040, 0.012, 0.015, 0.015])  # by payment

# ---- whom a new channel brings ----
CHANNEL_MIX: Final = np.array([[0.15, 0.0, 0.0], [0.80, 0.05, 0.0], [0.0, 0.0, 0.0]])
CHANNEL_AGE_SHARES: Final = (0.65, 0.25, 0.08, 0.02)
CHANNEL_LOG_ODDS: Final = 0.5
"""Mean frailty of its customers: they compare offers, and go on comparing."""


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
    PRODUCT = 9
    CHANNEL = 10


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

    def rows(self, which: Bools | Ints) -> _Base:
        """The customers that ``which`` names, as a mask or as positions."""
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


def _newcomers(rng: np.random.Generator, count: int, mix: Floats, ages: tuple[float, ...] = AGE_SHARES) -> _Base:
    """``count`` customers before their first month, with contract and internet drawn from ``mix``."""
    pair = _drawn(rng, (mix / mix.sum()).reshape(1, -1), np.zeros(count, dtype=np.int64))
    internet, contract = pair // 3, pair % 3
    online = internet != NO_INTERNET
    region = _drawn(rng, np.array([REGION_SHARES]), np.zeros(count, dtype=np.int64))
    age = _drawn(rng, np.array([ages]), np.zeros(count, dtype=np.int64))
    security = online & (rng.random(count) < ADD_ON_SHARES[contract])
    support = online & (rng.random(count) < ADD_ON_SHARES[contract])
    extras = np.where(online, rng.binomial(3, 0.15 + ADD_ON_SHARES[contract] / 2), 0)
    price = LIST_PRICES[internet] + ADD_ON_PRICE * (security.astype(np.int64) + support + extras)
    price *= np.exp(rng.normal(0.0, 0.05, count))
    data_level = DATA_LEVELS[internet] * np.exp(rng.normal(0.0, 0.5, count) - 0.22 * (age - 1))
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
        data_level=data_level,
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


def _market_log_odds(base: _Base, source: SimulatedSource, month: Month) -> Floats:
    """What the month itself does: season, chance and competitors' offers."""
    chance = float(_stream(source.seed, month, Purpose.MARKET).standard_normal())
    swing = math.log(_swing(source, month))
    log_odds = np.full(len(base), SEASON[month.number - 1] + MONTH_NOISE_SD * chance + swing)
    for shock in source.happening(CompetitorShock):
        if shock.lasts(month):
            struck = shock.region is None or base.region == REGIONS.index(shock.region)
            log_odds += shock.strength * SHOCK_LOG_ODDS[base.contract] * struck
    return log_odds


def _swing(source: SimulatedSource, month: Month) -> float:
    """What seasonal scenarios multiply usage, and the odds of leaving, by in ``month``."""
    swings = source.happening(Seasonal)
    return math.prod(1.0 + s.amplitude * math.cos(math.tau * (month.number - s.peak) / 12) for s in swings)


def _commitment_log_odds(base: _Base) -> Floats:
    """Short tenure counts without a contract; with one, its term protects and its end is a decision."""
    settling = np.interp(base.tenure, TENURE_MONTHS, TENURE_LOG_ODDS)
    ending = RENEWAL_LOG_ODDS[np.minimum(base.renewals, len(RENEWAL_LOG_ODDS) - 1)]
    in_term = IN_TERM_LOG_ODDS[base.contract]
    return np.where(base.contract == MONTHLY, settling, np.where(base.months_left == 0, ending, in_term))


def _profile_log_odds(base: _Base) -> Floats:
    """What a customer has bought and how it is paid."""
    log_odds: Floats = (
        INTERNET_LOG_ODDS[base.internet]
        + PAYMENT_LOG_ODDS[base.payment]
        + PAPERLESS_LOG_ODDS * base.paperless
        + SECURITY_LOG_ODDS * base.security
        + SUPPORT_LOG_ODDS * base.support
        + SENIOR_LOG_ODDS * (base.age == len(AGE_BANDS) - 1)
    )
    return log_odds


def _experience_log_odds(base: _Base) -> Floats:
    """What happened lately: usage, calls, complaints, prices, payments."""
    halvings = np.clip(-np.log2((base.usage[0] + 1.0) / (base.usage[3] + 1.0)), 0.0, 1.5)
    risen_calls = np.clip(base.calls[0] - base.calls[1:].mean(axis=0), 0.0, 4.0)
    remembered = (COMPLAINT_LOG_ODDS[:, None] * (base.complaints > 0)).max(axis=0)
    log_odds: Floats = (
        USAGE_HALVED_LOG_ODDS[base.contract] * halvings
        + MANY_CALLS_LOG_ODDS * (base.calls[0] >= MANY_CALLS)
        + CALLS_RISING_LOG_ODDS * risen_calls
        + remembered
        + PRICE_RISE_LOG_ODDS[base.contract] * base.rises.sum(axis=0)
        + FAILURE_LOG_ODDS * (base.failures[0] > 0)
        + FAILURE_AGAIN_LOG_ODDS * (base.failures > 0).all(axis=0)
        + ABSENCE_LOG_ODDS * np.log1p(base.days_since_login / 10.0)
    )
    return log_odds


def _hazard(base: _Base, source: SimulatedSource, month: Month) -> Floats:
    """P(leaves during ``month``) for each customer of the base at the end of the month before."""
    log_odds = (
        INTERCEPT
        + _commitment_log_odds(base)
        + _profile_log_odds(base)
        + _experience_log_odds(base)
        + base.frailty
        + _market_log_odds(base, source, month)
    )
    return np.asarray(1.0 / (1.0 + np.exp(-log_odds)))


def _with_contracts(base: _Base, rng: np.random.Generator) -> _Base:
    """Terms run down; ended ones are renewed, changed or left to run on by the month; some commit anew."""
    ended = base.months_left == 0
    chance = rng.random(len(base))
    commits = (base.contract == MONTHLY) & (base.tenure > 2) & (chance < COMMIT_RATE)
    renewed = ended & (chance < RENEW_RATE)
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


def _with_products(base: _Base, rng: np.random.Generator, list_prices: Floats) -> _Base:
    """Some move from DSL to fibre, at the difference in list price, and use more."""
    moves = (base.internet == DSL) & (base.tenure > 1) & (rng.random(len(base)) < UPGRADE_RATE)
    return base.changed(
        internet=np.where(moves, FIBER, base.internet),
        price=np.round(base.price + np.where(moves, list_prices[FIBER] - list_prices[DSL], 0.0), 2),
        data_level=base.data_level * np.where(moves, DATA_LEVELS[FIBER] / DATA_LEVELS[DSL], 1.0),
    )


def _with_prices(
    base: _Base, term_over: Bools, charged: Floats, rng: np.random.Generator, month: Month, general: float
) -> _Base:
    """Out of contract, each region's product is repriced once a year; a contract's price moves when its term ends.

    A ``general`` rise, a fraction, comes on top for everyone.
    """
    due = (base.region * 3 + base.internet) * 5 % 12 == month.number - 1
    repriced = due & (base.contract == MONTHLY)
    size = np.clip(rng.normal(REPRICING[base.internet], 0.03), 0.0, 0.20)
    size += DISCOUNT_LOST * (term_over & (base.contract == MONTHLY))
    rise = np.where(base.tenure > 1, np.where(repriced | term_over, size, 0.0) + general, 0.0)
    price = np.round(base.price * (1.0 + rise), 2)
    return base.changed(
        price=price,
        price_change=np.where(base.tenure > 1, np.round(price - charged, 2), 0.0),
        rises=np.concatenate([rise[None], base.rises[:-1]]),
    )


def _with_usage(base: _Base, rng: np.random.Generator, month: Month, swing: float) -> _Base:
    """Usage wanders about each customer's level; now and then someone fades away for months."""
    n = len(base)
    chance = rng.random(n)
    upset = (base.complaints[0] > 0) | (base.rises[0] > 0.06)
    fading = np.where(base.fading, chance < 0.70, chance < np.where(upset, FADING_RATES[1], FADING_RATES[0]))
    engagement = 0.88 * base.engagement - 0.34 * fading + rng.normal(0.0, 0.07, n)
    season = USAGE_SEASON[month.number - 1]
    data = base.data_level * season * np.exp(engagement + rng.normal(0.0, 0.09, n))
    minutes = base.call_level * season * np.exp(0.9 * engagement + rng.normal(0.0, 0.09, n))
    absent = np.minimum(rng.exponential(4.0, n) * np.exp(-0.8 * engagement), 90.0)
    data, minutes = np.round(data, 2), np.round(minutes, 1)
    # A swing that everyone takes part in isn't a reason to leave, so the usage that decides on leaving goes without it.
    now = np.where(base.internet == NO_INTERNET, minutes, data)
    usage = np.concatenate([now[None], base.usage[:-1]])
    return base.changed(
        fading=fading,
        engagement=engagement,
        data_gb=np.round(data * swing, 2),
        minutes=np.round(minutes * swing, 1),
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


@dataclass(frozen=True, slots=True)
class _Life:
    """A month's base and how many customer numbers were ever given out."""

    month: Month
    issued: int
    base: _Base


def _lived(before: _Base, source: SimulatedSource, month: Month, newcomers: _Base) -> _Base:
    """The base of ``month``, from the base of the month before it and those who join."""
    leaving = _stream(source.seed, month, Purpose.LEAVING)
    stayed = before.rows(~before.churned)
    left = leaving.random(len(stayed)) < _hazard(stayed, source, month)
    base = stayed.changed(churned=left).joined_by(newcomers)
    base = base.changed(tenure=base.tenure + 1)
    ended, charged = base.months_left == 0, base.price
    base = _with_contracts(base, _stream(source.seed, month, Purpose.CONTRACT))
    level, before_level = _price_level(source, month), _price_level(source, month - 1)
    base = _with_products(base, _stream(source.seed, month, Purpose.PRODUCT), LIST_PRICES * before_level)
    pricing = _stream(source.seed, month, Purpose.PRICE)
    base = _with_prices(base, ended, charged, pricing, month, general=level / before_level - 1.0)
    base = _with_service(base, _stream(source.seed, month, Purpose.SERVICE))
    base = _with_usage(base, _stream(source.seed, month, Purpose.USAGE), month, _swing(source, month))
    base = _with_payments(base, _stream(source.seed, month, Purpose.PAYMENT))
    return _cut_short(base, leaving)


def _first(source: SimulatedSource) -> _Life:
    """The first month: founders who have lived for a while, each leaver replaced, numbered by tenure."""
    month = source.start + -SETTLING_MONTHS
    base = _founders(source.seed, month, source.customers)
    base = base.rows(np.argsort(-base.tenure, kind="stable"))
    while month <= source.start:
        rng = _stream(source.seed, month, Purpose.JOINING)
        base = _lived(base, source, month, _newcomers(rng, int(base.churned.sum()), ENTRY_MIX))
        month = month + 1
    return _Life(source.start, len(base), base.changed(number=1 + np.arange(len(base))))


def _price_level(source: SimulatedSource, month: Month) -> float:
    """What general rises have made of a price of 1 by ``month``."""
    return math.prod(1.0 + rise.percent / 100 for rise in source.happening(PriceRise) if rise.month <= month)


def _joining(source: SimulatedSource, month: Month) -> _Base:
    """Those who join in ``month``, through every channel, at the prices of the day."""
    rng = _stream(source.seed, month, Purpose.JOINING)
    growth = (1.0 + GROWTH) ** (month - source.start)
    count = int(rng.poisson(source.customers * JOIN_RATE * JOIN_SEASON[month.number - 1] * growth))
    newcomers = _newcomers(rng, count, ENTRY_MIX)
    rng = _stream(source.seed, month, Purpose.CHANNEL)
    for channel in source.happening(NewChannel):
        if channel.month <= month:
            newcomers = newcomers.joined_by(_through(channel, rng, int(rng.poisson(source.customers * channel.share))))
    return newcomers.changed(price=np.round(newcomers.price * _price_level(source, month), 2))


def _through(channel: NewChannel, rng: np.random.Generator, count: int) -> _Base:
    """``count`` customers whom ``channel`` brings."""
    brought = _newcomers(rng, count, CHANNEL_MIX, CHANNEL_AGE_SHARES)
    payment = np.full(count, PAYMENTS.index(channel.payment_method))
    return brought.changed(payment=payment, frailty=brought.frailty + CHANNEL_LOG_ODDS)


def _next(life: _Life, source: SimulatedSource) -> _Life:
    """The month after ``life``."""
    month = life.month + 1
    newcomers = _joining(source, month)
    newcomers = newcomers.changed(number=life.issued + 1 + np.arange(len(newcomers)))
    return _Life(month, life.issued + len(newcomers), _lived(life.base, source, month, newcomers))


class _Recent:
    """The last few months lived in this process, so that ascending months cost one step each."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._lives: OrderedDict[tuple[SimulatedSource, int], _Life] = OrderedDict()
        self._lock = Lock()

    def life(self, source: SimulatedSource, month: Month) -> _Life:
        """The life of ``month``, continued from the nearest known month before it."""
        with self._lock:
            known = [life for (owner, _), life in self._lives.items() if owner == source and life.month <= month]
        life = max(known, key=lambda each: each.month) if known else _first(source)
        while life.month < month:
            life = _next(life, source)
        with self._lock:
            self._lives[(source, month.ordinal)] = life
            self._lives.move_to_end((source, month.ordinal))
            while len(self._lives) > self._size:
                self._lives.popitem(last=False)
        return life

    def forget(self) -> None:
        """Drops all months."""
        with self._lock:
            self._lives.clear()


_RECENT: Final = _Recent(size=2)


def _labels(codes: Ints, labels: tuple[str, ...]) -> pl.Series:
    """The text that each code stands for."""
    return pl.Series(labels, dtype=pl.String).gather(codes)


def _customer_ids(number: Ints, customers: int) -> pl.Series:
    """C0000001 and so on, wide enough that text order is the order of joining."""
    width = max(7, len(str(customers)) + 1)
    return "C" + pl.Series(number).cast(pl.String).str.zfill(width)


def _snapshot(life: _Life, source: SimulatedSource) -> pl.DataFrame:
    """The month's rows as a source delivers them."""
    base = life.base
    signup = life.month.ordinal - (base.tenure - 1)
    signup_day = (signup - EPOCH_ORDINAL).astype("datetime64[M]").astype("datetime64[D]")
    frame = pl.DataFrame(
        {
            "customer_id": _customer_ids(base.number, source.customers),
            "signup_month": pl.Series(signup_day),
            "tenure_months": pl.Series(base.tenure, dtype=pl.Int32),
            "age_band": _labels(base.age, AGE_BANDS),
            "region": _labels(base.region, REGIONS),
            "contract": _labels(base.contract, CONTRACTS),
            "contract_months_left": pl.Series(base.months_left, dtype=pl.Int32),
            "renewals": pl.Series(base.renewals, dtype=pl.Int32),
            "internet": _labels(base.internet, INTERNETS),
            "payment_method": _labels(base.payment, PAYMENTS),
            "paperless_billing": base.paperless,
            "online_security": base.security,
            "tech_support": base.support,
            "add_ons": pl.Series(base.extras + base.security + base.support, dtype=pl.Int32),
            "monthly_charge": base.price,
            "price_change": base.price_change,
            "total_charges": base.total,
            "data_gb": pl.Series(base.data_gb).fill_nan(None),
            "call_minutes": base.minutes,
            "support_calls": pl.Series(base.calls[0], dtype=pl.Int32),
            "complaints": pl.Series(base.complaints[0], dtype=pl.Int32),
            "payment_failures": pl.Series(base.failures[0], dtype=pl.Int32),
            "days_since_last_login": pl.Series(base.days_since_login, dtype=pl.Int32),
            "churned": base.churned,
        }
    )
    return frame.with_columns(
        pl.when(pl.col("contract_months_left") >= 0).then(pl.col("contract_months_left")).alias("contract_months_left"),
    )


def _as_told(snapshot: pl.DataFrame, source: SimulatedSource, month: Month) -> pl.DataFrame:
    """``snapshot`` with the columns that are broken in ``month``."""
    for broken in source.happening(BrokenColumn):
        if broken.changes(month):
            told = pl.lit(None) if broken.factor is None else pl.col(broken.column) * broken.factor
            snapshot = snapshot.with_columns(told.cast(snapshot.schema[broken.column]).alias(broken.column))
    return snapshot


@dataclass(frozen=True)
class SimulatedSource:
    """A simulated subscriber base, one snapshot a month.

    A month's rows are the customers active at its start, as known at its end; ``churned`` tells who left during it.

    Attributes:
        start: the first month that exists.
        customers: how many are active at the start of ``start``.
        seed: which of the possible histories is lived.
        scenario: what happens to the base.

    >>> source = SimulatedSource(Month(2024, 1), customers=1000)
    >>> source.read(Month(2024, 1)).batches.read_all().num_rows
    1000

    Raises:
        SpecError: the configuration is impossible.
    """

    start: Month
    customers: int = 7000
    seed: int = 7
    scenario: tuple[Scenario, ...] = ()

    def __post_init__(self) -> None:
        if self.customers < 1:
            raise SpecError(f"simulated source: expected at least 1 customer; found customers={self.customers}.")
        if self.seed < 0:
            raise SpecError(f"simulated source: expected a seed of 0 or more; found seed={self.seed}.")
        for each in self.scenario:
            if not isinstance(each, Seasonal) and each.month <= self.start:
                raise SpecError(
                    f"simulated source: expected the scenario {each.kind} to begin after the first month, "
                    f"{self.start}; found {each.month}. Choose a later month."
                )

    def happening(self, kind: type[Happening]) -> tuple[Happening, ...]:
        """The scenarios of one kind, in their order."""
        return tuple(each for each in self.scenario if isinstance(each, kind))

    def identity(self, month: Month) -> str:
        """A hash of the configuration, the simulator's version and the month.

        Scenarios that leave the month as it is have no part in it.

        Raises:
            SourceError: ``month`` lies before ``start``.
        """
        self._require(month)
        told = [VERSION, str(self.start), self.customers, self.seed, self._scenario_of(month), str(month)]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()

    def read(self, month: Month) -> Delivery:
        """The snapshot of ``month``, ordered by customer_id.

        Raises:
            SourceError: ``month`` lies before ``start``.
        """
        identity = self.identity(month)
        table = _as_told(_snapshot(_RECENT.life(self, month), self), self, month).to_arrow()
        provenance = {
            "kind": "simulated",
            "customers": self.customers,
            "seed": self.seed,
            "start": str(self.start),
            "scenario": self._scenario_of(month),
            "month": str(month),
            "version": VERSION,
            "identity": identity,
            "rows": table.num_rows,
        }
        batches = table.to_batches(max_chunksize=BATCH_ROWS)
        return Delivery(pa.RecordBatchReader.from_batches(table.schema, batches), provenance)

    def true_hazard(self, month: Month) -> pl.DataFrame:
        """P(leaves during month + 1 | everything at the end of ``month``), for tests and benchmarks only.

        Returns customer_id and hazard for the customers still active at the end of ``month``. It knows what no model
        can: each customer's frailty, next month's chance variation, a coming shock, and what a broken column hides.

        Raises:
            SourceError: ``month`` lies before ``start``.
        """
        self._require(month)
        base = _RECENT.life(self, month).base
        active = base.rows(~base.churned)
        hazard = _hazard(active, self, month + 1)
        return pl.DataFrame({"customer_id": _customer_ids(active.number, self.customers), "hazard": hazard})

    def _scenario_of(self, month: Month) -> list[dict[str, Any]]:
        """The scenarios that change ``month``, as JSON."""
        return [each.model_dump(mode="json") for each in self.scenario if each.changes(month)]

    def _require(self, month: Month) -> None:
        if month < self.start:
            raise SourceError(
                f"simulated source: expected a month from {self.start} on, where the simulated base begins; "
                f"found {month}. Ask for a later month, or set the source's start to {month} or before."
            )
