"""One suite for every gateway and every SDK, in the contract's words; see `clients/README.md`."""
