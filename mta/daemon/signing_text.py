"""What signs the messages of a queue, in words: for `mta explain QUEUE`."""

from typing import TYPE_CHECKING, Final

from mta.daemon.signatories import Plan
from mta.daemon.signing import PREFIXES, Signer
from mta.settings import dkim_kinds

if TYPE_CHECKING:
    from mta.config.configuration import Configuration
    from mta.model.domain_key import DomainKey
    from mta.model.queue_key import QueueKey

KEYS_SHOWN_MAX: Final = 20
_IDENTITIES: Final = {
    dkim_kinds.SENDER_OR_FROM: "the address in Sender, else in From",
    dkim_kinds.STRICT_FROM: "the address in From, by a key of exactly its domain",
}


async def lines(signer: Signer, key: "QueueKey", configuration: "Configuration") -> tuple[str, ...]:
    """Which signatures messages get and by which key, or why they get none."""
    places = configuration.domain_places(key)
    plans = {plan.name: plan for plan in signer.plans(key)}
    found = []
    for name, _ in PREFIXES:
        directive = f"{name}-sign"
        where = places.get(directive) or "default"
        plan = plans.get(name)
        if plan is None:
            if name == "dkim":
                found.append(f"not signed: {directive} no ({where})")
            continue
        asked = _IDENTITIES.get(plan.form.identity, plan.form.identity)
        found.append(
            f"{directive} {plan.form.sign} ({where}): {plan.form.algorithm}, "
            f"{plan.form.headers_canon}/{plan.form.body_canon}, for {asked}"
        )
        found += [f"  {line}" for line in await _keys(signer, plan)]
        if plan.signed or plan.unsigned:
            last = f"; the last: {plan.last_why}" if plan.unsigned else ""
            found.append(
                f"  of the mail of {key.vmta} under these rules {plan.signed} signed, "
                f"{plan.unsigned} not{last}"
            )
    return tuple(found)


async def _keys(signer: Signer, plan: Plan) -> list[str]:
    """The keys in their order; for a fixed identity the one that signs, or why none does."""
    if plan.form.identity not in _IDENTITIES:
        chosen = await signer.signatories.of_identity(plan, plan.form.identity)
        if chosen.signatory is None:
            return [f"nothing signs: {chosen.why}"]
        one = chosen.signatory
        return [f"{one.selector}._domainkey.{one.domain} signs, {chosen.paths[-1]}"]
    if not plan.keys:
        return ["nothing signs: no domain-key applies"]
    shown = [await _key(signer, plan, key) for key in plan.keys[:KEYS_SHOWN_MAX]]
    more = len(plan.keys) - len(shown)
    return [*shown, f"and {more} more keys"] if more else shown


async def _key(signer: Signer, plan: Plan, key: "DomainKey") -> str:
    state = ""
    if "{" not in key.path:
        file = await signer.signatories.key_file(key.path)
        if file.key is None:
            state = f", passed over: {file.problem}"
        elif file.key.type != plan.form.key_type:
            state = f", passed over: {file.key.description}"
        else:
            state = f", {file.key.description}"
    owner = f" of {key.owner}" if key.owner else ""
    return f"{key.selector}._domainkey.{key.domain} {key.path}{state} ({key.place}{owner})"
