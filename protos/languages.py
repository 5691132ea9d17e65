"""Generate the public contract for the languages that people have, and compile what comes out.

`python protos/languages.py [LANGUAGE …]` tries those whose tools are on this machine, and says of the others what they
need: nothing is fetched. Debian brings all of them (see NEEDS). It fails if one does not generate or compile.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PROTOS = Path(__file__).resolve().parent
THIRD_PARTY = PROTOS / "third_party"
JARS = Path("/usr/share/java")
GO_LIBRARIES = Path("/usr/share/gocode")
NODE_PACKAGES = PROTOS.parent / "clients/examples/node-worker/node_modules"

NEEDS = {
    "cpp": ["protoc", "grpc_cpp_plugin", "g++", "/usr/include/grpcpp/grpcpp.h"],
    "csharp": ["protoc"],
    "go": ["protoc", "protoc-gen-go", "protoc-gen-go-grpc", "go", str(GO_LIBRARIES / "src/google.golang.org/grpc")],
    "java": ["protoc", "grpc_java_plugin", "javac", str(JARS / "grpc-stub.jar"), str(JARS / "protobuf.jar")],
    "node": ["node", str(NODE_PACKAGES)],
    "objc": ["protoc"],
    "php": ["protoc"],
    "ruby": ["protoc", "grpc_ruby_plugin", "ruby"],
}
"""Commands and files that a language needs."""
PACKAGES = (
    "protobuf-compiler protobuf-compiler-grpc libgrpc++-dev protobuf-compiler-grpc-java-plugin libgrpc-java "
    "default-jdk ruby-grpc golang-go protoc-gen-go protoc-gen-go-grpc golang-google-protobuf-dev golang-google-grpc-dev"
)


class Broken(Exception):
    """A language does not generate, or does not compile."""


def contracts() -> list[str]:
    """Every public contract."""
    return sorted(path.relative_to(PROTOS).as_posix() for path in (PROTOS / "horde/api").rglob("*.proto"))


def imported() -> list[str]:
    """What the contracts import of Google's, beside what comes with protobuf itself."""
    return sorted(path.relative_to(THIRD_PARTY).as_posix() for path in (THIRD_PARTY / "google").rglob("*.proto"))


def run(*command: str | Path, folder: Path | None = None, **environment: str) -> None:
    """Run a command; raises Broken with what it said."""
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Broken(f"{Path(command[0]).name}: {(done.stderr or done.stdout)[-2_000:]}")


def protoc(*arguments: str, files: list[str] | None = None) -> None:
    """Generate something."""
    run("protoc", f"-I{PROTOS}", f"-I{THIRD_PARTY}", *arguments, *(contracts() if files is None else files))


def plugin(name: str) -> str:
    return f"--plugin=protoc-gen-grpc={shutil.which(name)}"


def cpp(out: Path) -> str:
    protoc(f"--cpp_out={out}", files=contracts() + imported())
    protoc(f"--grpc_out={out}", plugin("grpc_cpp_plugin"))
    sources = sorted(out.rglob("*.cc"))

    def check(source: Path) -> None:
        run("g++", "-std=c++17", "-fsyntax-only", f"-I{out}", source)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(check, sources))
    return f"{len(sources)} files compile"


def csharp(out: Path) -> str:
    protoc(f"--csharp_out={out}", "--csharp_opt=base_namespace=")
    return f"{len(list(out.rglob('*.cs')))} files generate"


def go(out: Path) -> str:
    source = out / "src"
    source.mkdir()
    protoc(f"--go_out={source}", f"--go-grpc_out={source}")
    offline = {"GO111MODULE": "off", "GOPATH": f"{out}:{GO_LIBRARIES}", "GOPROXY": "off", "GOTOOLCHAIN": "local"}
    run("go", "build", "./github.com/...", folder=source, GOFLAGS="", GOCACHE=str(out / "cache"), **offline)
    return f"{len(list(source.rglob('*.go')))} files compile"


def java(out: Path) -> str:
    protoc(f"--java_out={out}", files=contracts() + imported())
    protoc(f"--grpc_out={out}", plugin("grpc_java_plugin"))
    sources = sorted(out.rglob("*.java"))
    jars = ":".join(str(jar) for jar in JARS.glob("*.jar"))
    listed = out / "sources"
    listed.write_text("\n".join(map(str, sources)), "utf-8")
    run("javac", "-nowarn", "-proc:none", "-cp", jars, "-d", out / "classes", f"@{listed}")
    return f"{len(sources)} files compile"


def node(out: Path) -> str:
    script = out / "load.js"
    script.write_text(
        "const grpc = require('@grpc/grpc-js'), loader = require('@grpc/proto-loader');"
        "const [, , includes, ...files] = process.argv;"
        "grpc.loadPackageDefinition(loader.loadSync(files, { keepCase: true, includeDirs: includes.split(':') }));",
        "utf-8",
    )
    run("node", script, f"{PROTOS}:{THIRD_PARTY}", *contracts(), NODE_PATH=str(NODE_PACKAGES))
    return f"{len(contracts())} contracts load"


def objc(out: Path) -> str:
    protoc(f"--objc_out={out}")
    return f"{len(list(out.rglob('*.m')))} files generate"


def php(out: Path) -> str:
    protoc(f"--php_out={out}")
    return f"{len(list(out.rglob('*.php')))} files generate"


def ruby(out: Path) -> str:
    protoc(f"--ruby_out={out}", files=contracts() + imported())
    protoc(f"--grpc_out={out}", plugin("grpc_ruby_plugin"))
    sources = sorted(out.rglob("*_pb.rb"))
    run("ruby", f"-I{out}", "-e", "ARGV.each { |file| require file }", *sources)
    return f"{len(sources)} files load"


LANGUAGES: dict[str, Callable[[Path], str]] = {
    "cpp": cpp, "csharp": csharp, "go": go, "java": java, "node": node, "objc": objc, "php": php, "ruby": ruby,
}  # fmt: skip


def missing(language: str) -> Iterator[str]:
    """What a language needs and this machine has not."""
    for need in NEEDS[language]:
        if not (Path(need).exists() if need.startswith("/") else shutil.which(need)):
            yield need


def main() -> int:
    broken = 0
    for language in sys.argv[1:] or LANGUAGES:
        lacks = list(missing(language))
        if lacks:
            print(f"{language:8} skipped: {', '.join(lacks)} is not here")
            continue
        with tempfile.TemporaryDirectory() as scratch:
            try:
                print(f"{language:8} {LANGUAGES[language](Path(scratch))}", flush=True)
            except Broken as error:
                broken += 1
                print(f"{language:8} BROKEN: {error}", flush=True)
    if any(list(missing(language)) for language in LANGUAGES):
        print(f"Debian brings what was skipped: {PACKAGES}; for node: npm install in clients/examples/node-worker")
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
