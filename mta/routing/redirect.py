"""Where mail for a queue goes instead: from queue to queue until nothing leads on.

    queue-to                        the name of another domain, once within a VirtualMTA
    mx (of an mx-rollup-list)       the queue that all domains with these mail hosts share
    cold-virtual-mta                a VirtualMTA being warmed up, for new mail, once
    reroute-to-virtual-mta          another VirtualMTA, always
    backoff-reroute-to-virtual-mta  another VirtualMTA, while the queue is in backoff mode

New mail goes all the way before it is queued. What a queue holds goes on from there, and is
not renamed again within its VirtualMTA: `queue-to` is one hop.

Nothing goes round in circles. The directives are edges between queues; an edge from which
one can come back to where it begins is ignored, so what is left has no cycle, whichever
member of a pool is taken. `reroute` edges are judged among themselves, whatever the mode of
any queue; `backoff` and `mx` edges among those that hold this moment: two VirtualMTAs in
backoff that point at each other keep what they have.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple, Protocol

from mta.address import domain_name
from mta.model.queue_key import QueueKey
from mta.model.rollup_rule import SUFFIX
from mta.model.route import RouteSpec
from mta.routing.pool import Turns
from mta.routing.rollup import RollupList

QUEUE_TO: Final = "queue-to"
MX: Final = "mx"
A_LABELS: Final = "A-labels"
"""No directive: the queue of an older version, whose name has U-labels."""
COLD: Final = "cold-virtual-mta"
REROUTE: Final = "reroute-to-virtual-mta"
BACKOFF_REROUTE: Final = "backoff-reroute-to-virtual-mta"

NODES_MAX: Final = 5000
"""Queues looked at to see whether an edge comes back; one that leads to more is ignored."""
CACHED_MAX: Final = 50_000
"""Queues whose edges are remembered, about 20 MB."""


class RedirectSettings(Protocol):
    """What of a queue's rules says where its mail goes."""

    @property
    def queue_to(self) -> str: ...
    @property
    def reroute_to_virtual_mta(self) -> str: ...
    @property
    def backoff_reroute_to_virtual_mta(self) -> str: ...
    @property
    def disable_mx_rollup(self) -> bool: ...
    @property
    def smtp_hosts(self) -> RouteSpec: ...
    @property
    def type(self) -> str: ...


class RedirectVmta(Protocol):
    """A VirtualMTA mail may go to."""

    @property
    def name(self) -> str: ...


class RedirectPool(Protocol):
    """A pool whose members mail may go to."""

    @property
    def name(self) -> str: ...
    @property
    def virtual_mta(self) -> tuple[str, ...]: ...


class RedirectConfiguration(Protocol):
    """What of a configuration says where mail goes."""

    def domain(self, key: QueueKey, /) -> RedirectSettings: ...
    def vmta(self, name: str, /) -> RedirectVmta | None: ...
    def vmta_names(self) -> tuple[str, ...]: ...
    def pool(self, name: str, /) -> RedirectPool | None: ...


class Edge(NamedTuple):
    """A directive of a queue, and where it leads: one queue, or those of a pool's members."""

    directive: str
    targets: tuple[QueueKey, ...]
    pool: str = ""


class Hop(NamedTuple):
    """One step on the way of mail: the directive of the queue before, the queue after.

    `pool` is the pool that gave the VirtualMTA, or empty.
    """

    directive: str
    key: QueueKey
    pool: str = ""


class Loop(NamedTuple):
    """An edge that is ignored because it comes back."""

    key: QueueKey
    directive: str


Divert = Callable[[QueueKey], str]
"""The cold VirtualMTA that takes new mail for a queue; empty for none."""


class Redirects:
    """What one configuration says; cheap to ask for each message.

    `rolled_up` gives the rollup queue of a domain, empty for none and None while it is not
    known; `in_backoff` whether a queue is in backoff mode this moment, None where another
    shard knows: such a queue leads nowhere, and still counts when circles are looked for.
    """

    def __init__(
        self,
        configuration: RedirectConfiguration,
        rollup: RollupList,
        *,
        rolled_up: Callable[[str], str | None] = lambda _: "",
        in_backoff: Callable[[QueueKey], bool | None] = lambda _: False,
        on_loop: Callable[[Loop], None] = lambda _: None,
    ) -> None:
        self._configuration = configuration
        self._rollup = rollup
        self._rolled_up = rolled_up
        self._in_backoff = in_backoff
        self._on_loop = on_loop
        self._static: dict[QueueKey, tuple[Edge, ...]] = {}
        self._sound: dict[QueueKey, tuple[Edge, ...]] = {}
        self._loops: set[Loop] = set()
        self._turns = Turns()

    # What is asked

    def way(
        self, key: QueueKey, *, is_new: bool = False, divert: Divert | None = None
    ) -> list[Hop]:
        """Where mail for a queue goes, step by step; empty if it stays.

        `is_new` mail is not in the queue yet; only such is renamed by `queue-to` within its
        VirtualMTA, and only such may be diverted to a cold one.
        """
        hops: list[Hop] = []
        renamed = not is_new
        while True:
            edge = self._renaming(key, renamed=renamed)
            if edge is None and divert is not None:
                cold = divert(key)
                divert = None
                if cold:
                    edge = Edge(COLD, (QueueKey(key.domain, cold),))
            edge = edge or self._rerouting(key)
            if edge is None:
                return hops
            renamed = edge.directive in (QUEUE_TO, MX)
            key = self._taken(edge, key)
            hops.append(Hop(edge.directive, key, edge.pool))
            assert len(hops) < NODES_MAX, "what leads on has no circle"

    def home(self, key: QueueKey, domain: str) -> list[Hop]:
        """Where a recipient at domain goes from a queue that `is_orphan`."""
        own = QueueKey(domain, key.vmta)
        return [Hop(_orphaned(key), own), *self.way(own, is_new=True)]

    def leads_away(self, key: QueueKey) -> str:
        """The directive that takes from a queue what it holds; empty if nothing does."""
        if self.is_orphan(key):
            return _orphaned(key)
        edge = self._renaming(key, renamed=True) or self._rerouting(key)
        return edge.directive if edge is not None else ""

    def may_lead_away(self, key: QueueKey) -> bool:
        """Whether `leads_away` of a queue can ever be anything, under this configuration."""
        settings = self._configuration.domain(key)
        return bool(
            settings.reroute_to_virtual_mta
            or settings.backoff_reroute_to_virtual_mta
            or self._may_roll_up(key, settings)
            or self.is_orphan(key)
        )

    def must_look_up(self, key: QueueKey) -> bool:
        """Whether the mail hosts of a queue's domain have to be known before its mail goes."""
        return (
            self._may_roll_up(key, self._configuration.domain(key))
            and self._rolled_up(key.domain) is None
        )

    def is_orphan(self, key: QueueKey) -> bool:
        """Whether a queue is a rollup queue that the configuration no longer has.

        Or one that an older version named with U-labels. Its mail goes back to the queues of
        its recipients' domains.
        """
        if not key.domain.isascii():
            return domain_name(key.domain) != key.domain
        return (
            key.domain.endswith(SUFFIX)
            and self._rollup.queue(key.domain) is None
            and not self._configuration.domain(key).smtp_hosts
        )

    def outlook(self, key: QueueKey) -> list[tuple[QueueKey, Edge]]:
        """The steps of new mail, each from the queue before; of a pool, over its first member."""
        steps: list[tuple[QueueKey, Edge]] = []
        renamed = False
        while edge := self._renaming(key, renamed=renamed) or self._rerouting(key):
            steps.append((key, edge))
            key, renamed = edge.targets[0], edge.directive in (QUEUE_TO, MX)
        return steps

    def ignored(self, key: QueueKey) -> list[Loop]:
        """Directives of a queue that are ignored because they come back."""
        steps = self.outlook(key)
        end = steps[-1][1].targets[0] if steps else key
        sound = self._sound_static(end)
        found = [Loop(end, e.directive) for e in self._static_edges(end) if e not in sound]
        edge = self._backoff_edge(end)
        if edge is not None and self._if_sound(end, edge) is None:
            found.append(Loop(end, edge.directive))
        return found

    def siblings(self, key: QueueKey) -> Iterator[QueueKey]:
        """The queues of the same domain: their way may depend on the mode of this one."""
        return (QueueKey(key.domain, name) for name in self._configuration.vmta_names())

    # Edges

    def _renaming(self, key: QueueKey, *, renamed: bool) -> Edge | None:
        if not renamed:
            for edge in self._sound_static(key):
                if edge.directive == QUEUE_TO:
                    return edge
        return self._if_sound(key, self._rollup_edge(key))

    def _rerouting(self, key: QueueKey) -> Edge | None:
        for edge in self._sound_static(key):
            if edge.directive == REROUTE:
                return edge
        return self._if_sound(key, self._backoff_edge(key))

    def _static_edges(self, key: QueueKey) -> tuple[Edge, ...]:
        """What the configuration alone says of a queue."""
        found = self._static.get(key)
        if found is None:
            settings = self._configuration.domain(key)
            edges = []
            name = settings.queue_to
            # Names in braces are queues of other kinds; none of them is in force.
            if name and name != key.domain and not name.startswith("{"):
                edges.append(Edge(QUEUE_TO, (QueueKey(name, key.vmta),)))
            edges += self._to_vmta(REROUTE, settings.reroute_to_virtual_mta, key)
            if len(self._static) >= CACHED_MAX:
                self._static.clear()
            found = self._static[key] = tuple(edges)
        return found

    def _sound_static(self, key: QueueKey) -> tuple[Edge, ...]:
        """Those of them that do not come back."""
        found = self._sound.get(key)
        if found is None:
            edges = self._static_edges(key)
            found = tuple(e for e in edges if not self._comes_back(key, e, self._static_edges))
            for edge in edges:
                if edge not in found:
                    self._note(Loop(key, edge.directive))
            if len(self._sound) >= CACHED_MAX:
                self._sound.clear()
            self._sound[key] = found
        return found

    def _rollup_edge(self, key: QueueKey) -> Edge | None:
        settings = self._configuration.domain(key)
        if not self._may_roll_up(key, settings):
            return None
        name = self._rolled_up(key.domain)
        queue = self._rollup.queue(name) if name else None
        if queue is None:
            return None
        target = QueueKey(queue.name, key.vmta)
        is_served = queue.hosts or queue.by_ip or self._configuration.domain(target).smtp_hosts
        return Edge(MX, (target,)) if is_served else None

    def _backoff_edge(self, key: QueueKey, *, if_unknown: bool = False) -> Edge | None:
        name = self._configuration.domain(key).backoff_reroute_to_virtual_mta
        if not name:
            return None
        is_in_backoff = self._in_backoff(key)
        if not (if_unknown if is_in_backoff is None else is_in_backoff):
            return None
        return next(iter(self._to_vmta(BACKOFF_REROUTE, name, key)), None)

    def _to_vmta(self, directive: str, name: str, key: QueueKey) -> list[Edge]:
        """The edge to a VirtualMTA or pool; none to itself."""
        pool = self._configuration.pool(name) if name else None
        names = pool.virtual_mta if pool is not None else (name,) if name else ()
        vmtas = [vmta.name for one in names if (vmta := self._configuration.vmta(one)) is not None]
        targets = tuple(
            QueueKey(key.domain, vmta) for vmta in vmtas if vmta.lower() != key.vmta.lower()
        )
        return [Edge(directive, targets, pool.name if pool is not None else "")] if targets else []

    def _may_roll_up(self, key: QueueKey, settings: RedirectSettings) -> bool:
        return (
            bool(self._rollup)
            and not settings.disable_mx_rollup
            and not settings.smtp_hosts
            and settings.type == "smtp"
            and key.domain[:1] not in ("[", "{")
            and not key.domain.endswith(SUFFIX)
        )

    def _taken(self, edge: Edge, key: QueueKey) -> QueueKey:
        """The target of an edge; of several, the one whose turn it is."""
        if len(edge.targets) == 1:
            return edge.targets[0]
        names = [target.vmta for target in edge.targets]
        name = self._turns.next(f"{edge.pool} from {key.vmta}", names, key.domain)
        return edge.targets[names.index(name)]

    # Circles

    def _moving_edges(self, key: QueueKey) -> Iterator[Edge]:
        """What leads on from a queue this moment."""
        yield from self._sound_static(key)
        for edge in (self._rollup_edge(key), self._backoff_edge(key, if_unknown=True)):
            if edge is not None:
                yield edge

    def _if_sound(self, key: QueueKey, edge: Edge | None) -> Edge | None:
        """An edge that holds this moment, unless it comes back."""
        if edge is None or not self._comes_back(key, edge, self._moving_edges):
            return edge
        self._note(Loop(key, edge.directive))
        return None

    def _comes_back(
        self, start: QueueKey, edge: Edge, edges_of: Callable[[QueueKey], Iterable[Edge]]
    ) -> bool:
        """Whether the queue an edge begins at can be reached from where it leads."""
        seen: set[QueueKey] = set()
        waiting = list(edge.targets)
        while waiting:
            key = waiting.pop()
            if key == start or len(seen) >= NODES_MAX:
                return True
            if key not in seen:
                seen.add(key)
                waiting += [target for one in edges_of(key) for target in one.targets]
        return False

    def _note(self, loop: Loop) -> None:
        if loop not in self._loops:
            self._loops.add(loop)
            self._on_loop(loop)


def _orphaned(key: QueueKey) -> str:
    return MX if key.domain.isascii() else A_LABELS
