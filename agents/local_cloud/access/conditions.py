"""The Condition block of a policy statement.

Operators and their treatment of missing keys follow the IAM reference ("IAM JSON policy elements: Condition
operators"): a missing key fails every operator but the negated ones, ``...IfExists``, ``Null`` and ``ForAllValues``.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

#: Values of the request's context, by lower-case key ("aws:sourceip", "sts:externalid").
Context = Mapping[str, Sequence[str]]


@functools.lru_cache(maxsize=4096)
def wildcard(pattern: str, *, fold: bool = False) -> re.Pattern[str]:
    """The regular expression of an IAM pattern, in which ``*`` and ``?`` are wild."""
    translated = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.compile(translated, re.DOTALL | (re.IGNORECASE if fold else 0))


def like(pattern: str, value: str, *, fold: bool = False) -> bool:
    """Whether ``value`` as a whole fits the IAM pattern."""
    return wildcard(pattern, fold=fold).fullmatch(value) is not None


def _arn_like(pattern: str, value: str) -> bool:
    wanted, found = pattern.split(":", 5), value.split(":", 5)
    return len(wanted) == len(found) and all(map(like, wanted, found))


def _moment(text: str) -> datetime:
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return datetime.fromtimestamp(float(text), UTC)
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _in_network(network: str, value: str) -> bool:
    return ipaddress.ip_address(value) in ipaddress.ip_network(network, strict=False)


def _numbers(compare: Callable[[float, float], bool]) -> Callable[[str, str], bool]:
    return lambda wanted, value: compare(float(value), float(wanted))


def _dates(compare: Callable[[datetime, datetime], bool]) -> Callable[[str, str], bool]:
    return lambda wanted, value: compare(_moment(value), _moment(wanted))


_COMPARE: dict[str, Callable[[str, str], bool]] = {
    "stringequals": lambda wanted, value: value == wanted,
    "stringequalsignorecase": lambda wanted, value: value.lower() == wanted.lower(),
    "stringlike": like,
    "arnequals": _arn_like,
    "arnlike": _arn_like,
    "bool": lambda wanted, value: value.lower() == wanted.lower(),
    "binaryequals": lambda wanted, value: value == wanted,
    "ipaddress": _in_network,
    "numericequals": _numbers(lambda a, b: a == b),
    "numericlessthan": _numbers(lambda a, b: a < b),
    "numericlessthanequals": _numbers(lambda a, b: a <= b),
    "numericgreaterthan": _numbers(lambda a, b: a > b),
    "numericgreaterthanequals": _numbers(lambda a, b: a >= b),
    "dateequals": _dates(lambda a, b: a == b),
    "datelessthan": _dates(lambda a, b: a < b),
    "datelessthanequals": _dates(lambda a, b: a <= b),
    "dategreaterthan": _dates(lambda a, b: a > b),
    "dategreaterthanequals": _dates(lambda a, b: a >= b),
}

_NEGATED = {
    "stringnotequals": "stringequals",
    "stringnotequalsignorecase": "stringequalsignorecase",
    "stringnotlike": "stringlike",
    "arnnotequals": "arnequals",
    "arnnotlike": "arnlike",
    "notipaddress": "ipaddress",
    "numericnotequals": "numericequals",
    "datenotequals": "dateequals",
}


def strings(value: object) -> list[str]:
    """A policy element as a list of strings, whichever of its JSON shapes it has."""
    if isinstance(value, bool):
        return ["true" if value else "false"]
    if isinstance(value, (list, tuple)):
        return [item for element in value for item in strings(element)]
    return [str(value)]


def holds(block: Mapping[str, Mapping[str, object]], context: Context) -> bool:
    """Whether every operator and every key of a Condition block is satisfied. Unknown operators are not."""
    return all(
        _one(operator, key.lower(), [substitute(v, context) for v in strings(wanted)], context)
        for operator, pairs in block.items()
        for key, wanted in pairs.items()
    )


def _one(operator: str, key: str, wanted: list[str], context: Context) -> bool:
    name = operator.lower()
    quantifier, _, rest = name.rpartition(":")
    if quantifier:
        name = rest
    if_exists = name.endswith("ifexists")
    if if_exists:
        name = name.removesuffix("ifexists")
    found = context.get(key)
    if name == "null":
        return (found is None) == (wanted[0].lower() == "true")
    negated = name in _NEGATED
    compare = _COMPARE.get(_NEGATED.get(name, name))
    if compare is None:
        return False
    if found is None or not found:
        return negated or if_exists or quantifier == "forallvalues"
    matches = [any(_safely(compare, want, value) for want in wanted) != negated for value in found]
    return any(matches) if quantifier == "foranyvalue" else all(matches)


def _safely(compare: Callable[[str, str], bool], wanted: str, value: str) -> bool:
    try:
        return compare(wanted, value)
    except ValueError:
        return False


def substitute(text: str, context: Context) -> str:
    """``text`` with its policy variables (``${aws:username}``) filled in; an unknown one matches nothing."""
    if "${" not in text:
        return text
    return re.sub(r"\$\{([^}]*)\}", lambda found: _variable(found[1], context), text)


def _variable(name: str, context: Context) -> str:
    if name in ("*", "?", "$"):
        return name
    key, _, default = name.partition(",")
    values = context.get(key.strip().lower())
    if values:
        return values[0]
    return default.strip().strip("'") if default else "\0"
