"""The hosts of a job: names, groups, instance types, addresses."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

HOMOGENEOUS: Final = "homogeneousCluster"
PORTS: Final = range(20_000, 32_000)
"""Below the ports that Linux gives out by itself."""


@dataclass(frozen=True)
class Host:
    """One host of a job.

    Attributes:
        name: `algo-1` and so on, over all groups.
        group: Instance group; `homogeneousCluster` where the request has none.
    """

    name: str
    group: str
    instance_type: str


def hosts_of(resources: Mapping[str, Any]) -> list[Host]:
    """The hosts that a `ResourceConfig` asks for, by rank."""
    groups = resources.get("InstanceGroups") or [
        {
            "InstanceGroupName": HOMOGENEOUS,
            "InstanceType": resources.get("InstanceType", ""),
            "InstanceCount": resources.get("InstanceCount") or 1,
        }
    ]
    found: list[Host] = []
    for group in groups:
        for _ in range(int(group["InstanceCount"])):
            name = f"algo-{len(found) + 1}"
            found.append(Host(name, group["InstanceGroupName"], group["InstanceType"]))
    return found


def resource_config(host: Host, hosts: Sequence[Host], interface: str) -> dict[str, Any]:
    """`resourceconfig.json` of one host of a job."""
    groups: dict[str, dict[str, Any]] = {}
    for one in hosts:
        group = groups.setdefault(
            one.group,
            {
                "instance_group_name": one.group,
                "instance_type": one.instance_type,
                "hosts": [],
            },
        )
        group["hosts"].append(one.name)
    return {
        "current_host": host.name,
        "current_instance_type": host.instance_type,
        "current_group_name": host.group,
        "hosts": [one.name for one in hosts],
        "instance_groups": list(groups.values()),
        "network_interface_name": interface,
    }


def addresses(uid: str, hosts: Sequence[Host]) -> dict[str, str]:
    """An address of the loopback network for each host, other ones for every job.

    So the hosts of two jobs can listen on the same port, and a host's name leads to it alone.
    """
    digest = hashlib.blake2b(uid.encode(), digest_size=2).digest()
    network = f"127.{16 + digest[0] % 200}.{digest[1]}"
    return {host.name: f"{network}.{rank + 1}" for rank, host in enumerate(hosts)}


def rendezvous_port(uid: str, attempt: int) -> int:
    """The port at which the ranks of a distributed job meet: another one for every attempt.

    A port of a killed attempt may still be held for a while.
    """
    digest = hashlib.blake2b(f"{uid}/{attempt}".encode(), digest_size=4).digest()
    return PORTS[int.from_bytes(digest) % len(PORTS)]
