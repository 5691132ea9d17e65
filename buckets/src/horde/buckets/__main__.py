"""`python -m horde.buckets`, which is `horde storage init`: makes buckets, their rules and their credentials."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import botocore.session
import click
from botocore.exceptions import BotoCoreError, ClientError

from horde.buckets.making import FolderMaking, S3Making, Step
from horde.buckets.wanted import Wanted, read_wanted

FAILED: Final = 1
USAGE: Final = 2
UNAVAILABLE: Final = 6


@click.command(context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "HORDE_STORAGE_INIT"})
@click.option("--endpoint", help="The S3 server, https://HOST:PORT.")
@click.option("--folders", type=click.Path(file_okay=False, path_type=Path), help="Buckets are folders in this one.")
@click.option("--access-key", help="An administrator's access key.")
@click.option("--secret-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Its secret.")
@click.option("--region", default="us-east-1", show_default=True, help="The region that requests are signed for.")
@click.option(
    "--deploy",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path("deploy"),
    show_default=True,
    help="The folder with buckets.json and policies/.",
)
@click.option(
    "--secrets",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("secrets"),
    show_default=True,
    help="Where the keys of new users are written, mode 0600.",
)
@click.option("--web-origin", "origins", multiple=True, help="A web page that may show pictures by their links.")
@click.option("--name", "names", multiple=True, metavar="BUCKET=NAME", help="Another name for a bucket.")
@click.option("--no-users", is_flag=True, help="Leave users, policies and keys alone: for servers without IAM.")
@click.option("--dry-run", is_flag=True, help="Say what would be changed, and change nothing.")
def main(
    endpoint: str | None,
    folders: Path | None,
    access_key: str | None,
    secret_file: Path | None,
    region: str,
    deploy: Path,
    secrets: Path,
    origins: tuple[str, ...],
    names: tuple[str, ...],
    no_users: bool,
    dry_run: bool,
) -> None:
    """Make the buckets with their lifecycle and CORS rules, and a user with a least-privilege policy for each of
    DEPLOY/policies. Run again, it changes what differs from that, and nothing else.
    """
    if (endpoint is None) is (folders is None):
        raise click.UsageError("say --endpoint or --folders")
    try:
        wanted = read_wanted(deploy, origins, dict(_pair(name) for name in names))
        if folders is not None:
            steps: Iterable[Step] = FolderMaking(folders).steps(wanted)
        else:
            steps = _of_server(endpoint or "", access_key, secret_file, region, secrets, wanted, users=not no_users)
        changed = 0
        for step in steps:
            click.echo(f"{'would ' if dry_run else ''}{step.words}")
            changed += 1
            if not dry_run:
                step.do()
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    except ClientError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(FAILED)
    except BotoCoreError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(UNAVAILABLE)
    click.echo(f"{changed} changes" if changed else "nothing to change", err=True)


def _of_server(
    endpoint: str,
    access_key: str | None,
    secret_file: Path | None,
    region: str,
    secrets: Path,
    wanted: Wanted,
    *,
    users: bool,
) -> Iterable[Step]:
    if not access_key or secret_file is None:
        raise click.UsageError("an administrator's --access-key and --secret-file are needed")
    secret = secret_file.read_text("utf-8").strip()

    def client(service: str) -> Any:
        return botocore.session.get_session().create_client(
            service,
            region_name=region,
            endpoint_url=endpoint,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret,
        )

    return S3Making(client("s3"), client("iam") if users else None, secrets).steps(wanted)


def _pair(text: str) -> tuple[str, str]:
    bucket, equals, name = text.partition("=")
    if not equals or not name:
        raise ValueError(f"--name {text}: say BUCKET=NAME")
    return bucket, name


if __name__ == "__main__":
    main()
