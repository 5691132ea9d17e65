"""The cases, as data: `mesh.toml` for any gateway, `sdk.toml` for an SDK before a gateway that follows a script."""
