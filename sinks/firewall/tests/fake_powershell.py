#!/usr/bin/python3
"""Stands in for powershell.exe: takes the requests of serve.ps1, strictly, and keeps rules in a file beside it.

What is not exactly as it should be ends it with a line in `wrong`, which fails the test.
"""
import ipaddress, json, os, re, sys

folder = os.path.dirname(os.path.abspath(__file__))
at = lambda name: os.path.join(folder, name)


def wrong(what):
    with open(at("wrong"), "a") as file:
        file.write(what + "\n")
    sys.exit(3)


def load(name, default):
    try:
        with open(at(name)) as file:
            return json.load(file)
    except FileNotFoundError:
        return default


def shown(address):
    """As Get-NetFirewallAddressFilter gives it: IPv4 networks with a mask."""
    net = ipaddress.ip_network(address)
    if net.num_addresses == 1:
        return str(net.network_address)
    return net.with_netmask if net.version == 4 else str(net)


def put(rules, group, name, addresses):
    if group != "trapline" or not re.fullmatch(r"trapline-block-[0-9]+", name):
        wrong(f"put {group} {name}")
    parts = addresses.split(",")
    if not 1 <= len(parts) <= 1000 or len(set(parts)) != len(parts):
        wrong(f"{len(parts)} addresses")
    for part in parts:
        if str(ipaddress.ip_network(part)) not in (part, part + "/32", part + "/128"):
            wrong(f"address {part!r}")
    rules[name] = {"group": group, "enabled": "True", "direction": "Inbound", "action": "Block",
                   "from": [shown(part) for part in parts]}


def answer(words):
    fault = load("fault", None)
    if fault is not None:
        return [f"no {fault}"]
    rules = load("rules", {})
    before = json.dumps(rules)
    lines = []
    match words:
        case ["rules", "trapline"]:
            for name, rule in rules.items():
                if rule["group"] == "trapline":
                    parts = [name, rule["enabled"], rule["direction"], rule["action"], ",".join(rule["from"])]
                    lines.append("rule " + " ".join(parts))
        case ["put", group, name, addresses]:
            put(rules, group, name, addresses)
        case ["take", name]:
            if name not in rules:
                return ["no No MSFT_NetFirewallRule objects found"]
            del rules[name]
        case ["profiles"]:
            lines = load("profiles", ["profile Domain True NotConfigured", "profile Public True True"])
        case _:
            wrong(f"request {words!r}")
    if json.dumps(rules) != before:
        with open(at("rules"), "w") as file:
            json.dump(rules, file)
    return lines + ["ok"]


with open(at("script")) as file:
    expected = ["-NoLogo", "-NoProfile", "-NonInteractive", "-Command", file.read()]
if sys.argv[1:] != expected:
    wrong(f"arguments {sys.argv[1:]!r}")
if set(os.environ) - {"LC_ALL", "PATH", "LC_CTYPE"}:
    wrong(f"environment {sorted(os.environ)}")
with open(at("starts"), "a") as file:
    file.write(f"{os.getpid()}\n")
for line in sys.stdin:
    if not re.fullmatch(r"[a-z]+( [0-9A-Za-z.:/,-]+)*\n", line):
        wrong(f"line {line!r}")
    if os.path.exists(at("silent")):
        continue
    with open(at("asked"), "a") as file:
        file.write(line.split(" ")[0].strip() + "\n")
    sys.stdout.write("".join(part + "\r\n" for part in answer(line.strip().split(" "))))
    sys.stdout.flush()
