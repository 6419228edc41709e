"""Servers that hand out stateless tickets or have one process: Redis, MariaDB and stunnel, across a restart."""

from __future__ import annotations

import signal
import socketserver
import ssl
import threading
from collections.abc import Callable

import mariadb
import redis
import stunnel
from harness import VERSIONS, Client, Scenario, Site, free_port, wait_until
from support import Server


def ticketed(version: ssl.TLSVersion, **how: Callable) -> Client:
    client = Client(version, **how)
    client.context.options &= ~ssl.OP_NO_TICKET
    return client


def across(site: Site, server: Server, port: int, clients: list[Client]) -> list[int]:
    """How many of ten sessions each client can resume after a restart."""
    kept = [client.crowd(10, port) for client in clients]
    server.stop()
    server.start()
    return [client.return_of(sessions, port) for client, sessions in zip(clients, kept)]


def redis_restarted(site: Site) -> None:
    site.host()
    port = free_port()
    server = redis.start(site, port, 5000, 300)
    clients = [ticketed(version, talk=redis.command("PING")) for version in VERSIONS]
    site.check("S11", "without the option, its tickets name no session", across(site, server, port, clients), [0, 0])
    server.stop()
    site.options["SSLSWEEP_TICKETS"] = "stateful"
    server.start()
    site.check("S1 S11", "redis: resumed after a restart", across(site, server, port, clients), [10, 10])
    kept = [client.crowd(10, port) for client in clients]
    setting = Client(VERSIONS[0], redis.command("CONFIG", "SET", "tls-session-cache-size", "4000"))
    site.check("S1", "answer to CONFIG SET", setting.visit(port).text, "+OK +OK")
    site.check("S1 S11", "redis: resumed by the context that CONFIG SET has made",
               [client.return_of(sessions, port) for client, sessions in zip(clients, kept)], [10, 10])
    site.check("S7", "exit status", server.stop(), 0)


def stunnel_restarted(site: Site) -> None:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), stunnel.Answer) as behind:
        thread = threading.Thread(target=behind.serve_forever)
        thread.start()
        try:
            stunnel_visits(site, behind.server_address[1])
        finally:
            behind.shutdown()
            thread.join()


def stunnel_visits(site: Site, behind: int) -> None:
    """It tells libssl to store nothing, and stores sessions itself once they are authenticated, in its own sense. So
    none is published."""
    site.host()
    port = free_port()
    conf = site.write("stunnel.conf", f"""
foreground = yes
syslog = no
pid =
debug = info
[server]
accept = 127.0.0.1:{port}
connect = 127.0.0.1:{behind}
cert = {site.certificate.both}
options = NO_TICKET
""")
    server = site.start(stunnel.STUNNEL, conf, ports=[port])
    clients = [ticketed(version) for version in VERSIONS]
    kept = [client.crowd(10, port) for client in clients]
    site.check("S5", "stunnel: resumed where they were made", [client.return_of(sessions, port)
               for client, sessions in zip(clients, kept)], [10, 10])
    site.check("S2", "stunnel: resumed after a restart", across(site, server, port, clients), [0, 0])
    kept = [client.crowd(10, port) for client in clients]
    bound = site.said().count(") bound to ")
    server.signal(signal.SIGHUP)
    wait_until(lambda: site.said().count(") bound to ") > bound, "the reload")
    site.check("S2", "stunnel: resumed after a reload", [client.return_of(sessions, port)
               for client, sessions in zip(clients, kept)], [0, 0])
    site.check("S7", "exit status", server.stop(), 0)
    site.check("S2 S9", "stunnel: published", site.figures().get("published", 0), 0)


def mariadb_restarted(site: Site) -> None:
    """Its sid_ctx is the address of a variable, and it asks for client certificates."""
    site.host()
    site.options["SSLSWEEP_TICKETS"] = "stateful"
    port = free_port()
    server = mariadb.start(site, port)
    clients = [ticketed(version, talk=mariadb.query, begin=mariadb.begin) for version in VERSIONS]
    site.check("S2", "mariadb: resumed after a restart", across(site, server, port, clients), [0, 0])
    site.check("S7", "exit status", server.stop(), 0)
    aside = site.figures().get("SSL_CTX aside: client authentication", 0)
    site.so("S9", "mariadb: the figures say why", aside > 0, site.figures())


SCENARIOS = [
    Scenario("redis", redis_restarted, ("redis",)),
    Scenario("stunnel", stunnel_restarted, ("stunnel",)),
    Scenario("mariadb", mariadb_restarted, ("mariadb",)),
]
