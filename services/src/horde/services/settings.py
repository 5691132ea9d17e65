"""The settings that every service has, and how they are read.

A service subclasses ServiceSettings with its own prefix and fields; `load_or_exit` reads them, once, in `__main__`,
from the command line and the environment, and hands values down. A secret is the path of a file. A bad setting ends the
start and names its variable.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from horde.services.addresses import Networks, parse_networks
from horde.services.certificates import BadCertificate, examine, lacking
from horde.services.identity import Credentials, Identity, PeerCertificate, SharedKey
from horde.services.tls import Listener, TlsFiles

S = TypeVar("S", bound="ServiceSettings")

KUBERNETES = re.compile(r"(SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)")
"""What Kubernetes puts into a container's environment for a Service whose name begins like ours."""

ADDRESS = re.compile(r"[\w.:\[\]-]+:\d+", re.ASCII)
"""HOST:PORT."""
LAST_PORT = 65_535
NUMBER_WORDS = {"int": "a whole number", "float": "a number", "bool": "true or false"}
BOUND_WORDS = {
    "greater_than_equal": "must be {ge} or more",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be {le} or less",
    "less_than": "must be less than {lt}",
    "literal_error": "must be {expected}",
    "string_too_long": "may have {max_length} characters at most",
    "missing": "is missing",
}
"""What pydantic finds, in our words, by its name for it."""


def _networks(text: str) -> str:
    parse_networks(text)
    return text


class ServiceSettings(BaseSettings):
    """Fields of every service. Subclasses set `env_prefix`."""

    among_services: ClassVar[bool] = True
    """Whether the process speaks with other services, and so must prove its name and know theirs."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, env_ignore_empty=True)

    listen: str = "127.0.0.1:0"
    """Where to listen, HOST:PORT; port 0 takes any free one."""
    key_file: Path | None = None
    """The key of this run, by which callers on one machine know each other."""
    tls_certificate: Path | None = None
    """Our certificate, PEM."""
    tls_key: Path | None = None
    """The certificate's private key, PEM, mode 0600."""
    tls_authorities: Path | None = None
    """Whose certificates callers and neighbours must have, PEM."""
    tls_name_suffix: str = ""
    """What follows a caller's name in its certificate, for example `.mesh.example`."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least serious log line that is written."""
    log_format: Literal["console", "json"] = "console"
    """How log lines look."""
    telemetry_endpoint: str = ""
    """Where traces and metrics go, OTLP over gRPC, http://HOST:4317; empty: nowhere."""
    metrics_listen: str = ""
    """Where Prometheus reads metrics, HOST:PORT, in plain; empty: nowhere."""
    health_listen: str = ""
    """Where probes alone are answered, HOST:PORT, in plain: "live" while the process runs, "" while it takes calls,
    "fit" also while it stands by. Empty: the health check is where the service listens."""
    reflection: bool = False
    """Whether anybody may ask which services and messages there are."""
    grace_seconds: float = Field(default=5.0, ge=0, le=600)
    """How long running calls may take to end when the service stops."""
    forwarded_from: Annotated[str, AfterValidator(_networks)] = ""
    """Networks, by commas, whose `x-forwarded-for` is believed: those of proxies and of the web door, such as
    `10.0.0.0/8`. Who comes through one that is not named is counted as that one."""
    failpoints: str = ""
    """For tests: where to fail, see failpoints.py."""

    @property
    def stop_seconds(self) -> float:
        """How long the process may take to end: the farewell and the calls have their grace, what is open is closed."""
        return 2 * self.grace_seconds + 10

    def proxies(self) -> Networks:
        """Whose word about where a caller is counts."""
        return parse_networks(self.forwarded_from)

    def tls(self) -> TlsFiles | None:
        """The TLS files, if there are any."""
        if self.tls_certificate is None and self.tls_authorities is None:
            return None
        return TlsFiles(self.tls_certificate, self.tls_key, self.tls_authorities)

    def listener(self) -> Listener:
        """Where and how to listen."""
        return Listener(self.listen, self.tls())

    def identity(self) -> Identity | None:
        """How callers are told apart: by certificate if a suffix is set, else by the key of this run."""
        if self.tls_name_suffix:
            return PeerCertificate(self.tls_name_suffix)
        return SharedKey.from_file(self.key_file) if self.key_file else None

    @property
    def service(self) -> str:
        """What the others call this service, as its variables do: `storage-router`."""
        return self.variable("").removeprefix("HORDE_").strip("_").lower().replace("_", "-")

    @classmethod
    def variable(cls, field: str) -> str:
        """The variable that sets a field."""
        return (cls.model_config.get("env_prefix", "") + field).upper()

    def faults(self) -> list[str]:
        """One line for each setting with which the process would start and be of no use."""
        return [*self._unproven(), *self._unbelievable(), *self._nowhere()]

    def _nowhere(self) -> list[str]:
        """What is no address: gRPC would listen at another port, silently, where a number is beyond the last one."""
        found = []
        for field in type(self).model_fields:
            address = getattr(self, field)
            if not isinstance(address, str) or not address or address.startswith("unix"):
                continue
            host, _, port = address.rpartition(":")
            number = int(port) if port.isascii() and port.isdigit() and len(port) < 10 else None
            if field.endswith("listen") and (not host or number is None):
                found.append(f"{self.variable(field)}: must be HOST:PORT")
            elif ADDRESS.fullmatch(address) and (number is None or number > LAST_PORT):
                found.append(f"{self.variable(field)}: a port is {LAST_PORT} at most")
        return found

    def _unbelievable(self) -> list[str]:
        """What is wrong with our certificate, to the neighbours to whom it is shown."""
        if self.tls_certificate is None:
            return []
        variable = self.variable("tls_certificate")
        if self.tls_key is None:
            return [f"{self.variable('tls_key')}: {variable} is of no use without its key"]
        try:
            facts = examine(self.tls_certificate, self.tls_key, self.tls_authorities if self.among_services else None)
        except BadCertificate as error:
            return [f"{variable}: {error}"]
        if not self.tls_name_suffix:
            return []
        lack = lacking(facts.names, self.service + self.tls_name_suffix)
        return [f"{variable}: {self.tls_certificate} {lack}"] if lack else []

    def _unproven(self) -> list[str]:
        if not self.among_services or self.key_file or self.tls_name_suffix:
            return []
        prefix = self.variable("")
        return [
            f"{prefix}KEY_FILE: without it no service believes another. On one machine, name the key file of this run "
            f"(`horde keys init` makes one); between machines, {prefix}TLS_NAME_SUFFIX and the TLS files instead"
        ]

    def credentials(self, caller: str) -> Credentials | None:
        """How this service proves itself to its neighbours where the certificate does not."""
        return Credentials.from_key_file(caller, self.key_file) if self.key_file else None


class DoorSettings(ServiceSettings):
    """Fields of a service that strangers call, who have no certificate."""

    plaintext: bool = False
    """Listen without TLS also where other machines can call: something in front of this does the TLS."""
    door_certificate: Path | None = None
    """What strangers are shown, PEM, where it is another than `tls_certificate`: of an authority that the world
    believes."""
    door_key: Path | None = None
    """Its private key, PEM, mode 0600."""

    def door(self, *, require_client: bool = False) -> Listener:
        """Where and how strangers are listened to."""
        if self.plaintext:
            return Listener(self.listen, plaintext=True)
        files = self.tls()
        if self.door_certificate is not None:
            files = TlsFiles(self.door_certificate, self.door_key, self.tls_authorities)
        shown = files is not None and files.certificate is not None
        return Listener(self.listen, files if shown else None, require_client=require_client)


class BadSettings(Exception):
    """The settings do not hold; the message names each variable."""


def load(settings: type[S], arguments: Sequence[str] = ()) -> S:
    """Read settings from arguments (`--log-level debug`), else from the environment.

    Raises BadSettings that says which variable is wrong, and how; also for one that begins like ours and is none: a
    mistyped database would otherwise be an empty one on this machine. `--help` lists them all and exits.
    """
    unknown = unknown_variables(settings, os.environ)
    if unknown:
        raise BadSettings("\n".join(unknown))
    program = settings.__module__.removesuffix(".settings")
    command_line: Any = {"cli_parse_args": list(arguments), "cli_prog_name": program, "cli_kebab_case": True}
    try:
        loaded = settings(**{f"_{name}": value for name, value in command_line.items()})
    except ValidationError as error:
        prefix = settings.model_config.get("env_prefix", "")
        lines = []
        for problem in error.errors():
            name = prefix + "_".join(str(part) for part in problem["loc"])
            # Not the value: it may be a secret.
            words = _words(problem["type"], problem.get("ctx", {}), problem["msg"])
            lines.append(f"{name.upper()}: {words}" if problem["loc"] else words)
        raise BadSettings("\n".join(lines)) from None
    if faults := loaded.faults():
        raise BadSettings("\n".join(faults))
    return loaded


def _words(kind: str, facts: Mapping[str, Any], otherwise: str) -> str:
    """What is wrong with a value, by pydantic's name for it."""
    wanted, _, problem = kind.partition("_")
    if wanted in NUMBER_WORDS and problem:
        return f"must be {NUMBER_WORDS[wanted]}"
    if kind in BOUND_WORDS:
        whole = {
            name: int(fact) if isinstance(fact, float) and fact.is_integer() else fact for name, fact in facts.items()
        }
        return BOUND_WORDS[kind].format(**whole)
    return otherwise.removeprefix("Value error, ")


def unknown_variables(settings: type[ServiceSettings], names: Iterable[str]) -> list[str]:
    """One line for each of these names that begins with the settings' prefix and names no setting."""
    prefix = settings.model_config.get("env_prefix", "").upper()
    known = [prefix + field.upper() for field in settings.model_fields]
    lines = []
    for name in sorted(name.upper() for name in names if prefix and name.upper().startswith(prefix)):
        if name in known or KUBERNETES.fullmatch(name.removeprefix(prefix)):
            continue
        near = get_close_matches(name, known, 1)
        lines.append(f"{name}: there is no such setting" + (f"; did you mean {near[0]}?" if near else ""))
    return lines


def load_or_exit(settings: type[S], arguments: Sequence[str] | None = None) -> S:
    """For `__main__`: read settings, or say on standard error what is wrong and exit with status 2.

    `arguments` are those of the process, unless told.
    """
    try:
        return load(settings, sys.argv[1:] if arguments is None else arguments)
    except BadSettings as error:
        sys.stderr.write(f"bad settings\n{error}\n")
        sys.exit(2)
