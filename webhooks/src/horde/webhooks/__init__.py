"""The webhooks service: it tells programs of people what happened to what is theirs.

It owns addresses and what was said to each. It is the only service that calls what strangers name, and therefore has no
other's credential: what happened it hears from the ledger's feed, the scheduler's and the gateways, and to people's
programs it says ids and how things ended, nothing more.
"""
