"""Generate `protos/gen` from the contracts: messages, gRPC stubs and their types, and the public one as OpenAPI.

`python protos/generate.py` rewrites the folder; `python protos/generate.py --check` writes nothing and fails, naming
the files, if the folder is not what the contracts say; `--descriptors FILE` writes the public contract as Envoy wants
it. Run it with the interpreter that has the `dev` extra: the compiler is a Python package, pinned there. Nothing is
fetched.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

PROTOS = Path(__file__).resolve().parent
THIRD_PARTY = PROTOS / "third_party"
GEN = PROTOS / "gen"
PLUGINS = ("protoc-gen-mypy", "protoc-gen-mypy_grpc")


def contracts() -> list[str]:
    """Every contract's path below `protos/`, in a fixed order; also those of others that a service of ours speaks."""
    roots = (PROTOS, THIRD_PARTY)
    return sorted(path.relative_to(root).as_posix() for root in roots for path in (root / "horde").rglob("*.proto"))


def find_plugin(name: str) -> str:
    """Find a protoc plug-in beside this interpreter first: its environment need not be active."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if not found:
        sys.exit(f"{name} is missing: install the `dev` extra (make install)")
    return found


def generate(out: Path) -> None:
    """Compile every contract into `out`, an empty folder."""
    import grpc_tools
    from grpc_tools import protoc

    sources = contracts()
    if not sources:
        sys.exit("no contract found below protos/horde")
    status: int = protoc.main(  # type: ignore[no-untyped-call]
        [
            "protoc",
            f"-I{PROTOS}",
            f"-I{THIRD_PARTY}",
            f"-I{Path(grpc_tools.__file__).parent / '_proto'}",
            *(f"--plugin={name}={find_plugin(name)}" for name in PLUGINS),
            f"--python_out={out}",
            f"--grpc_python_out={out}",
            f"--mypy_out=quiet:{out}",
            f"--mypy_grpc_out=quiet,only_async:{out}",
            *sources,
        ]
    )
    if status:
        sys.exit(status)
    for path in sorted(out.rglob("*_pb2_grpc.py*")):
        # A contract without a service gets an empty stub module: it says nothing, so it is not kept.
        name = path.relative_to(out).parent / (path.name.split("_pb2_grpc")[0] + ".proto")
        (contract,) = (root / name for root in (PROTOS, THIRD_PARTY) if (root / name).exists())
        if not any(line.startswith("service ") for line in contract.read_text("utf-8").splitlines()):
            path.unlink()
    write_openapi(out)
    # The texts that people agree to are a part of the contract: they travel with it.
    shutil.copytree(PROTOS / "consent", out / "horde" / "api" / "consent")


def describe(path: Path) -> None:
    """Write the descriptors of the public contract with all that they need, and their comments."""
    import grpc_tools
    from grpc_tools import protoc

    status: int = protoc.main(  # type: ignore[no-untyped-call]
        [
            "protoc",
            f"-I{PROTOS}",
            f"-I{THIRD_PARTY}",
            f"-I{Path(grpc_tools.__file__).parent / '_proto'}",
            f"--descriptor_set_out={path}",
            "--include_imports",
            "--include_source_info",
            *(source for source in contracts() if source.startswith("horde/api/")),
            # What errors carry.
            "google/rpc/error_details.proto",
        ]
    )
    if status:
        sys.exit(status)


def write_openapi(out: Path) -> None:
    """The public contract as OpenAPI, for the web door to serve."""
    from google.protobuf.descriptor_pb2 import FileDescriptorSet
    from openapi import openapi  # type: ignore[import-not-found]  # beside this program

    with tempfile.TemporaryDirectory() as scratch:
        described = Path(scratch) / "contract.binpb"
        describe(described)
        document = openapi(FileDescriptorSet.FromString(described.read_bytes()))
    text = json.dumps(document, ensure_ascii=False, indent=1)
    (out / "horde" / "api" / "openapi.json").write_text(f"{text}\n", encoding="utf-8")


def files(folder: Path) -> set[Path]:
    """Every generated file below `folder`, relative to it."""
    return {
        path.relative_to(folder)
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.name != "py.typed"
    }


def differences(fresh: Path) -> list[str]:
    """Which files of `protos/gen` are not what was just generated."""
    want, have = files(fresh), files(GEN)
    changed = {path for path in want & have if not filecmp.cmp(fresh / path, GEN / path, shallow=False)}
    return sorted(str(path) for path in changed | (want ^ have))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if protos/gen is stale")
    parser.add_argument(
        "--descriptors", type=Path, help="write the public contract's descriptors there, and nothing else"
    )
    arguments = parser.parse_args()
    check = bool(arguments.check)
    os.umask(0o022)
    if arguments.descriptors:
        describe(arguments.descriptors)
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch)
        generate(fresh)
        if check:
            stale = differences(fresh)
            for name in stale:
                print(f"stale: protos/gen/{name}", file=sys.stderr)
            if stale:
                print("run `make protos` and commit what it writes", file=sys.stderr)
            return 1 if stale else 0
        shutil.rmtree(GEN / "horde", ignore_errors=True)
        shutil.copytree(fresh, GEN, dirs_exist_ok=True)
        # One marker per package of contracts: `horde` and its halves stay namespaces without a module of their own.
        for half in ("api", "internal"):
            (GEN / "horde" / half / "py.typed").touch()
        print(f"protos/gen: {len(files(fresh))} files from {len(contracts())} contracts")
    return 0


if __name__ == "__main__":
    sys.exit(main())
