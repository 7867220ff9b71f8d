"""What the names of columns tell, word by word."""

from __future__ import annotations

import re

LEFT = frozenset({
    "churn", "churned", "churner", "left", "leaver", "exited", "exit", "attrition", "attrited", "cancelled", "canceled",
    "cancellation", "cancel", "terminated", "quit", "gone", "lost", "lapsed", "departed", "unsubscribed", "deactivated",
})  # fmt: skip
"""Words that say that a customer has left."""

STAYED = frozenset({"stayed", "active", "existing", "retained", "current", "loyal", "kept", "not", "non", "no"})
"""Words that say the contrary, even beside one of ``LEFT``."""

MONEY = frozenset({"charge", "charges", "fee", "fees", "price", "bill", "billing", "rent", "mrr", "arpu", "revenue"})
MONTHLY = frozenset({"month", "monthly", "mrr", "arpu"})

_SOMEBODY = frozenset({
    "customer", "cust", "client", "account", "acct", "user", "subscriber", "member", "msisdn", "phone", "email", "mail",
    "contract", "card",
})  # fmt: skip
_NUMBER = frozenset({"id", "ids", "uid", "uuid", "guid", "key", "no", "nr", "num", "number", "code", "ref"})
_POSITION = frozenset({"row", "index", "unnamed", "line", "record"})

NAMES_SOMEBODY = _SOMEBODY | _NUMBER | _POSITION | {"name", "surname", "lastname", "firstname", "address", "clientnum"}


def words(name: str) -> frozenset[str]:
    """The words of a name, in small letters.

    >>> sorted(words("MonthlyCharges")), sorted(words("customerID")), sorted(words("has_left"))
    (['charges', 'monthly'], ['customer', 'id'], ['has', 'left'])
    """
    return frozenset(w.lower() for w in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|[0-9]+", name))


def key_rank(name: str) -> int:
    """How likely a name is that of a customer's key; 0 if it isn't."""
    known, whole = words(name), "".join(c for c in name.lower() if c.isalnum())
    if known & _POSITION:
        return 0
    glued = any(whole == w + n for w in _SOMEBODY for n in _NUMBER)
    if glued or (known & _SOMEBODY and known & _NUMBER):
        return 3
    return 2 if known & _SOMEBODY else int(bool(known & _NUMBER) or whole.endswith("id"))


def value_rank(name: str) -> int:
    """How likely a name is that of what a customer pays a month; 0 if it isn't."""
    known = words(name)
    if known & MONEY and known & MONTHLY:
        return 2
    return int(
        bool(known) and known <= MONEY | _SOMEBODY | {"plan", "subscription", "eur", "usd"} and bool(known & MONEY)
    )


def tells_left(text: str) -> bool:
    """Whether a value says that a customer has left.

    >>> tells_left("Attrited Customer"), tells_left("Existing Customer"), tells_left("not churned")
    (True, False, False)
    """
    known = words(text)
    return bool(known & LEFT) and not known & STAYED
