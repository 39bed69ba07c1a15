"""VirtualMTAs and their pools, put together from their sections."""

from mta.config.block import Block
from mta.config.configuration import Parts, PoolSettings, VirtualMtaSettings
from mta.config.place import Diagnostics, Place
from mta.model.queue_key import BY_SOURCE_IP, DEFAULT_VMTA, NO_VMTA
from mta.settings.root import RootSettings
from mta.units import UNLIMITED


def finish(
    parts: Parts,
    place: Place,
    vmtas: dict[str, Block],
    pools: dict[str, Block],
    diagnostics: Diagnostics,
) -> None:
    """Put the VirtualMTAs and pools into the parts; `place` is that of `{default}`.

    A pool of the name of a VirtualMTA is an error.
    """
    for block in (*vmtas.values(), *pools.values()):
        if block.name.lower() in (BY_SOURCE_IP, NO_VMTA):
            diagnostics.error(
                block.place, f"{block.name} has a meaning of its own", hint="choose another name"
            )
    for name, block in pools.items():
        if name == DEFAULT_VMTA:
            diagnostics.error(
                block.place,
                f"{DEFAULT_VMTA} is a VirtualMTA",
                hint="a pool needs a name of its own",
            )
        elif name in vmtas:
            diagnostics.error(
                block.place,
                f"there is a VirtualMTA {block.name}, too ({vmtas[name].place})",
                hint="a pool needs a name of its own",
            )
        parts.pool_blocks[name] = block
        members = tuple(block.values.get("virtual_mta", ()))
        for entry in block.entries.get("virtual_mta", ()):
            if entry.value.lower() in pools:
                diagnostics.error(
                    entry.place,
                    f"{entry.value} is a pool, which cannot be in a pool",
                    hint="name each of its VirtualMTAs on a line of its own",
                )
        if not members:
            diagnostics.warning(block.place, f"pool {block.name} has no virtual-mta")
        parts.pools[name] = PoolSettings(name=block.name, virtual_mta=members)
        for member in members:
            _join(parts, member, block, pools, diagnostics)
    default = vmtas.pop(DEFAULT_VMTA, None) or Block("virtual-mta", DEFAULT_VMTA, place)
    for name, block in {DEFAULT_VMTA: default, **vmtas}.items():
        parts.vmta_blocks[name] = block
        pool = pools.get(parts.pool_of.get(name, ""))
        parts.vmtas[name] = _settings(parts.root, block, pool)


def _join(
    parts: Parts, member: str, pool: Block, pools: dict[str, Block], diagnostics: Diagnostics
) -> None:
    """The pool whose directives a VirtualMTA has: of those it is in, the one that has any."""
    name = pool.name.lower()
    before = parts.pool_of.get(member.lower(), name)
    parts.pool_of[member.lower()] = before
    if before == name or not _says_something(parts, name, pool):
        return
    if _says_something(parts, before, pools[before]):
        diagnostics.warning(
            pool.place,
            f"VirtualMTA {member} is in pool {pools[before].name}, too, which has directives of "
            f"its own; those of pool {pool.name} do not count for it",
            hint="a VirtualMTA has the directives of one pool: keep them in one",
        )
    else:
        parts.pool_of[member.lower()] = name


def _says_something(parts: Parts, name: str, pool: Block) -> bool:
    index = parts.pool_domains.get(name, ())
    return any(True for _ in index) or bool(pool.values.keys() - {"virtual_mta"})


def _settings(root: RootSettings, block: Block, pool: Block | None) -> VirtualMtaSettings:
    inherited = dict(pool.values) if pool is not None else {}
    values = {**inherited, **block.values}
    host_name = next(filter(None, values.get("host_names", ())), root.host_name)
    sources = (*values.get("smtp_source_host", ()), *values.get("smtp_source_ip", ()))
    rates = [rate for key in ("max_smtp_msg_rate", "max_msg_rate") if (rate := values.get(key))]
    return VirtualMtaSettings(
        name=block.name,
        smtp_source_host=tuple(
            (ip, helo or host_name) for ip, helo in sources or root.smtp_source_host
        ),
        host_name=host_name,
        max_smtp_out=values.get("max_smtp_out", UNLIMITED),
        max_msg_rate=min(rates, key=lambda rate: rate.per_second) if rates else None,
        max_data_volume_rate=values.get("max_smtp_data_volume_rate"),
        add_header=values.get("add_header", ()),
        add_received_header=values.get("add_received_header"),
        hide_received_header=values.get("hide_received_header", False),
        rewrite_list=values.get("rewrite_list", ""),
        include_headers_from=values.get("include_headers_from", ""),
        cold_virtual_mta=tuple(dict.fromkeys(values.get("cold_virtual_mta", ()))),
    )
