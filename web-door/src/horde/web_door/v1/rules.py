"""Which RPC of the contract answers which path: read from the descriptors' `google.api.http` options at start."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from google.api import annotations_pb2, http_pb2

from horde.web_door.contract import Rpc, rpcs
from horde.web_door.core.templates import Template


@dataclass(frozen=True)
class Rule:
    """How one RPC is called over HTTP."""

    rpc: Rpc
    verb: str
    template: Template
    body: str
    """Which field the body is: empty: there is none; `*`: all that is not in the path."""


def rules() -> Iterator[Rule]:
    """Every path of every method that has one."""
    for rpc in rpcs():
        options = rpc.descriptor.GetOptions()
        if options.HasExtension(annotations_pb2.http):
            rule = options.Extensions[annotations_pb2.http]
            for binding in (rule, *rule.additional_bindings):
                yield _rule(rpc, binding)


class Routes:
    """Finds the rule for a path."""

    def __init__(self) -> None:
        self._rules: dict[str, list[Rule]] = {}
        for rule in rules():
            self._rules.setdefault(rule.verb, []).append(rule)
        for found in self._rules.values():
            found.sort(key=lambda rule: rule.template.rank)

    def find(self, verb: str, path: str) -> tuple[Rule, Mapping[str, str]] | None:
        """The rule, and the values of the fields in the path, which is still percent-encoded."""
        for rule in self._rules.get(verb, ()):
            values = rule.template.match(path)
            if values is not None:
                return rule, values
        return None

    def verbs(self, path: str) -> list[str]:
        """By which other verbs a path is served."""
        return sorted(verb for verb in self._rules if self.find(verb, path) is not None)


def _rule(rpc: Rpc, binding: http_pb2.HttpRule) -> Rule:
    verb = binding.WhichOneof("pattern")
    if verb is None or verb == "custom" or rpc.descriptor.client_streaming:
        raise ValueError(f"{rpc.path} cannot be served over HTTP as it is annotated")
    return Rule(rpc, verb.upper(), Template(getattr(binding, verb)), binding.body)
