"""Generate what each SDK needs of the contract, into its folder `gen`, which is not kept; build it; and hold it against
the contract.

`python clients/sdks.py [--test] [LANGUAGE …]` does those whose tools are here, and says of the others what they need.
TypeScript comes with a compiler of its own (`npm install` in its folder); the others use Debian's, for the code that
it makes runs with the libraries that Debian brings. `--test` puts each through `horde conform`, before its own gateway
and before a mesh of this machine, prints the tables, and runs the program of each README.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

CLIENTS = Path(__file__).resolve().parent
PROTOS = CLIENTS.parent / "protos"
THIRD_PARTY = PROTOS / "third_party"
SOURCES = sorted(path.relative_to(PROTOS).as_posix() for path in (PROTOS / "horde/api").rglob("*.proto"))
GO_PACKAGE = "github.com/horde-mesh/horde-mesh-go"
GO_LIBRARIES = Path("/usr/share/gocode")
IMPORTED = sorted(path.relative_to(THIRD_PARTY).as_posix() for path in (THIRD_PARTY / "google").rglob("*.proto"))


def protoc(command: list[str], *arguments: str, files: list[str]) -> None:
    subprocess.run([*command, f"-I{PROTOS}", f"-I{THIRD_PARTY}", *arguments, *files], check=True)


def debian(plugin: str) -> str:
    return f"--plugin=protoc-gen-grpc={shutil.which(plugin)}"


def typescript(gen: Path) -> None:
    plugin = CLIENTS / "typescript/node_modules/.bin/protoc-gen-es"
    protoc(
        [sys.executable, "-m", "grpc_tools.protoc"],
        f"-I{_google()}",
        f"--plugin={plugin}",
        f"--es_out={gen}",
        "--es_opt=target=ts,import_extension=js",
        files=SOURCES + IMPORTED,
    )


def ruby(gen: Path) -> None:
    protoc(["protoc"], f"--ruby_out={gen}", f"--grpc_out={gen}", debian("grpc_ruby_plugin"), files=SOURCES + IMPORTED)


def cpp(gen: Path) -> None:
    """The services that stream have stubs; the SDK makes every other call by its name."""
    stubs = gen / "stubs"
    stubs.mkdir()
    protoc(["protoc"], f"--cpp_out={stubs}", files=SOURCES + IMPORTED)
    streaming = [f"horde/api/{noun}/v1/{noun}_service.proto" for noun in ("generation", "storage")]
    protoc(["protoc"], f"--grpc_out={stubs}", debian("grpc_cpp_plugin"), files=streaming)


def go(gen: Path) -> None:
    """Into a GOPATH below `gen`, beside the sources: Debian's libraries know no modules."""
    source = gen / "src"
    source.mkdir()
    protoc(["protoc"], f"--go_out={source}", f"--go-grpc_out={source}", files=SOURCES)
    package = source / GO_PACKAGE
    for path in (*CLIENTS.glob("go/*.go"), CLIENTS / "go/driver"):
        (package / path.name).symlink_to(path)


def with_go(*words: str) -> list[str]:
    gopath = f"{CLIENTS / 'go/gen'}:{GO_LIBRARIES}"
    offline = ["GO111MODULE=off", "GOPROXY=off", "GOTOOLCHAIN=local", "GOFLAGS=", f"GOPATH={gopath}"]
    return ["env", *offline, f"GOCACHE={CLIENTS.parent / '.cache/go'}", "go", *words]


JARS = [
    f"/usr/share/java/{jar}.jar"
    for jar in [
        "grpc-api",
        "grpc-context",
        "grpc-core",
        "grpc-netty",
        "grpc-protobuf",
        "grpc-protobuf-lite",
        "grpc-stub",
        "perfmark-api",
        "netty-buffer",
        "netty-codec",
        "netty-codec-http",
        "netty-codec-http2",
        "netty-codec-socks",
        "netty-common",
        "netty-handler",
        "netty-handler-proxy",
        "netty-resolver",
        "netty-transport",
        "netty-transport-native-unix-common",
        "protobuf",
        "protobuf-util",
        "gson",
        "guava",
        "geronimo-annotation-1.3-spec",
    ]
]
CLASSES = ":".join(["gen/classes", *JARS])


def java(gen: Path) -> None:
    source = gen / "src"
    source.mkdir()
    protoc(
        ["protoc"], f"--java_out={source}", f"--grpc_out={source}", debian("grpc_java_plugin"), files=SOURCES + IMPORTED
    )
    ours = [path.as_posix() for part in ("src", "driver") for path in sorted((CLIENTS / "java" / part).rglob("*.java"))]
    (gen / "ours").write_text("\n".join(ours), "utf-8")
    (gen / "generated").write_text("\n".join(path.as_posix() for path in sorted(source.rglob("*.java"))), "utf-8")


def _google() -> Path:
    import grpc_tools

    return Path(grpc_tools.__file__).parent / "_proto"


@dataclass(frozen=True, slots=True)
class Sdk:
    """How an SDK comes about."""

    generate: Callable[[Path], None]
    needs: Sequence[str]
    """Commands and files."""
    build: Sequence[Sequence[str]]
    """Commands, run in its folder."""
    driver: Sequence[str]
    """Of `horde conform`, from the root of the repository."""
    readme: str
    """Where the program of its README is put, in its folder, and below it the commands that run it, from there."""
    run: Sequence[Sequence[str]]


SDKS = {
    "typescript": Sdk(
        typescript,
        ["node", str(CLIENTS / "typescript/node_modules/.bin/protoc-gen-es")],
        [["node_modules/.bin/tsc"]],
        ["node", "clients/typescript/dist/driver/main.js"],
        "gen/readme.ts",
        [["node_modules/.bin/tsc"], ["node", "dist/gen/readme.js"]],
    ),
    "ruby": Sdk(
        ruby,
        ["protoc", "grpc_ruby_plugin", "ruby"],
        [],
        ["ruby", "clients/ruby/driver/main.rb"],
        "gen/readme.rb",
        [["ruby", "-Ilib", "-Igen", "gen/readme.rb"]],
    ),
    "go": Sdk(
        go,
        ["protoc", "protoc-gen-go", "protoc-gen-go-grpc", "go", str(GO_LIBRARIES / "src/google.golang.org/grpc")],
        [
            with_go("vet", GO_PACKAGE, f"{GO_PACKAGE}/driver"),
            with_go("test", GO_PACKAGE),
            with_go("build", "-o", "gen/driver", f"{GO_PACKAGE}/driver"),
        ],
        ["clients/go/gen/driver"],
        "gen/readme.go",
        [with_go("run", "gen/readme.go")],
    ),
    "cpp": Sdk(
        cpp,
        [
            "protoc",
            "grpc_cpp_plugin",
            "cmake",
            "g++",
            "/usr/include/grpcpp/grpcpp.h",
            "/usr/include/openssl/evp.h",
            "/usr/include/nlohmann/json.hpp",
        ],
        [
            ["cmake", "-S", ".", "-B", "gen/build", "-DCMAKE_CXX_FLAGS=-O0", "-DHORDE_MESH_CHECKS=ON"],
            ["cmake", "--build", "gen/build", "-j2"],
        ],
        ["clients/cpp/gen/build/driver"],
        "gen/readme.cpp",
        [["cmake", "--build", "gen/build", "--target", "readme"], ["gen/build/readme"]],
    ),
    "java": Sdk(
        java,
        ["protoc", "grpc_java_plugin", "java", "javac", *JARS],
        [
            ["javac", "-nowarn", "-proc:none", "-cp", CLASSES, "-d", "gen/classes", "@gen/generated"],
            [
                "javac",
                "-Xlint:all,-processing,-classfile",
                "-Werror",
                "-proc:none",
                "-cp",
                CLASSES,
                "-d",
                "gen/classes",
                "@gen/ours",
            ],
        ],
        ["java", "-cp", f"clients/java/{CLASSES}", "Driver"],
        "gen/Readme.java",
        [["java", "-cp", CLASSES, "gen/Readme.java"]],
    ),
}


@dataclass(frozen=True, slots=True)
class Spent:
    """Since when, by the clock and by the processors that commands have used."""

    clock: float
    processors: float

    @classmethod
    def now(cls) -> Spent:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return cls(time.monotonic(), used.ru_utime + used.ru_stime)

    def __str__(self) -> str:
        now = Spent.now()
        return f"{now.clock - self.clock:.0f} s, {now.processors - self.processors:.0f} s of CPU"


def made(language: str) -> bool:
    """Generate and build an SDK, if its tools are here."""
    sdk = SDKS[language]
    lacks = [need for need in sdk.needs if not shutil.which(need) and not Path(need).is_absolute()]
    lacks += [need for need in sdk.needs if Path(need).is_absolute() and not Path(need).exists()]
    if lacks:
        print(f"{language:10} skipped: {', '.join(lacks)} is not here")
        return False
    gen, began = CLIENTS / language / "gen", Spent.now()
    shutil.rmtree(gen, ignore_errors=True)
    gen.mkdir(parents=True)
    sdk.generate(gen)
    for command in sdk.build:
        subprocess.run(command, cwd=CLIENTS / language, check=True)
    files = sum(path.is_file() for path in gen.rglob("*"))
    print(f"{language:10} {files} files generated, built: {began}", flush=True)
    return True


def run_readme(language: str, gateway: str) -> None:
    """Run the program of an SDK's README against a mesh, and see four pictures. Raises CalledProcessError."""
    sdk, folder = SDKS[language], CLIENTS / language
    block = re.search(r"^```\w+\n(.*?)^```", (folder / "README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert block is not None
    # Where it leaves its pictures they are not kept.
    program = block[1].replace("127.0.0.1:7700", gateway).replace(".webp", ".readme.webp")
    (folder / sdk.readme).write_text(program, "utf-8")
    began = Spent.now()
    for command in sdk.run:
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    print(f"{language:10} the program of its README: {began}", flush=True)
    pictures = sorted(folder.glob("*.readme.webp"))
    for picture in pictures:
        picture.unlink()
    if len(pictures) != 4:
        raise SystemExit(f"{language}: the program of its README left {len(pictures)} pictures")


async def tables(languages: Sequence[str]) -> bool:
    """Print what holds of Python's SDK and of these; says whether all does."""
    from horde.cli.conform.drivers import PYTHON_DRIVER
    from horde.cli.conform.running import hold
    from horde.cli.conform.table import as_markdown
    from horde.cli.local.mesh import WorkerPlan, local_mesh
    from horde.cli.local.roles import Role

    drivers = {"python": PYTHON_DRIVER} | {language: SDKS[language].driver for language in languages}
    well = True
    # Strangers who are wrong again and again are held back, and these are.
    limits = {
        f"LIMIT_{who}": "none" for who in ("ADDRESS_IMAGES", "ADDRESS_ACCOUNTS", "ADDRESS_INPUTS", "ADDRESS_FAILURES")
    }
    with tempfile.TemporaryDirectory() as state:
        async with local_mesh(Path(state), extra={Role.GATEWAY: {"BRAKE": "false", **limits}}) as mesh:
            await mesh.start_worker(WorkerPlan("painter", "scripted"))
            for title, host in (
                ("An SDK before a gateway that misbehaves", None),
                ("A mesh of this project", mesh.gateway),
            ):
                verdicts = {
                    name: [verdict async for verdict in hold(command, host)] for name, command in drivers.items()
                }
                print(f"\n## {title}\n\n{as_markdown(verdicts)}", flush=True)
                for name, found in verdicts.items():
                    for verdict in found:
                        if not verdict.passed and not verdict.skipped:
                            well = False
                            print(f"{name}: {verdict.case}: {verdict.why}", file=sys.stderr)
            for language in languages:
                await asyncio.to_thread(run_readme, language, mesh.gateway)
    return well


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--test", action="store_true", help="put each through the cases of `horde conform`")
    parser.add_argument("languages", nargs="*", choices=[*SDKS, []], help="default: all")
    options = parser.parse_args()
    here = [language for language in options.languages or SDKS if made(language)]
    return int(options.test and not asyncio.run(tables(here)))


if __name__ == "__main__":
    sys.exit(main())
