"""Makes the keys of Keyscope's roles: `python deploy/nats/keys.py FOLDER [--jwt]`. Needs `pip install nkeys`.

Always: for each role a seed, `<role>.nk`, which its programs connect with, and `keys.env`, the public keys that
nkeys.conf wants. With `--jwt`: an operator, an account and a JWT for each role, `<role>.creds`, and `resolver.conf` for
the server. Nothing that exists is overwritten. Seeds are readable for you alone; the operator's and the account's
belong in a safe, for whoever has them can make users.
"""

import argparse
import base64
import hashlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import nkeys

ROLES: dict[str, Any] = {
    name.removesuffix("_ROLE"): role
    for name, role in json.loads(Path(__file__).with_name("roles.json").read_text()).items()
}
_KINDS = {
    "operator": nkeys.PREFIX_BYTE_OPERATOR,
    "account": nkeys.PREFIX_BYTE_ACCOUNT,
    "user": nkeys.PREFIX_BYTE_USER,
}
_NO_LIMITS = dict.fromkeys(
    (
        "subs",
        "data",
        "payload",
        "imports",
        "exports",
        "conn",
        "leaf",
        "mem_storage",
        "disk_storage",
        "streams",
        "consumer",
    ),
    -1,
)
_SECONDS = {"s": 1, "m": 60, "h": 3600}


class Key:
    """An nkey."""

    def __init__(self, kind: str) -> None:
        """`kind`: operator, account or user."""
        self.seed = nkeys.encode_seed(os.urandom(32), prefix=_KINDS[kind])
        self._pair = nkeys.from_seed(bytearray(self.seed))
        raw = bytes([_KINDS[kind]]) + bytes(self._pair._keys.verify_key)  # noqa: SLF001 - the library knows users only
        self.public = _base32(raw + bytes(nkeys.crc16_checksum(bytearray(raw))))

    def sign(self, subject: "Key", name: str, claims: dict[str, Any]) -> str:
        """A JWT about `subject`, as https://github.com/nats-io/jwt has it (version 2)."""
        body = {"iat": int(time.time()), "iss": self.public, "name": name, "sub": subject.public}
        body["nats"] = {**claims, "version": 2}
        body["jti"] = _base32(hashlib.sha256(json.dumps(body).encode()).digest())
        text = ".".join(_base64(json.dumps(part).encode()) for part in ({"typ": "JWT", "alg": "ed25519-nkey"}, body))
        return f"{text}.{_base64(self._pair.sign(text.encode()))}"


def user_claims(role: dict[str, Any]) -> dict[str, Any]:
    """A role of roles.json as the claims of a user's JWT."""
    claims: dict[str, Any] = {"type": "user", "pub": role["publish"], "sub": role["subscribe"]}
    claims.update(subs=-1, data=-1, payload=-1)
    if responses := role.get("allow_responses"):
        seconds = int(responses["expires"][:-1]) * _SECONDS[responses["expires"][-1]]
        claims["resp"] = {"max": responses["max"], "ttl": seconds * 1_000_000_000}
    return claims


def write_nkeys(folder: Path) -> None:
    """Seeds, and the public keys for the server."""
    keys = {role: Key("user") for role in ROLES}
    for role, key in keys.items():
        _write(folder / f"{role.lower()}.nk", key.seed.decode() + "\n")
    _write(folder / "keys.env", "".join(f"{role}_NKEY={key.public}\n" for role, key in keys.items()))


def write_jwts(folder: Path) -> None:
    """Credentials, and what the server must know to trust them."""
    operator, account, system = Key("operator"), Key("account"), Key("account")
    for name, key in (("keyscope-operator", operator), ("keyscope-account", account), ("system-account", system)):
        _write(folder / f"{name}.nk", key.seed.decode() + "\n")
    trusted = operator.sign(operator, "keyscope", {"type": "operator", "system_account": system.public})
    accounts = {
        key.public: operator.sign(key, name, {"type": "account", "limits": {**_NO_LIMITS, "wildcards": True}, **more})
        for key, name, more in ((account, "KEYSCOPE", {}), (system, "SYS", {"limits": _SYSTEM_LIMITS}))
    }
    preload = "".join(f"  {public}: {jwt}\n" for public, jwt in accounts.items())
    _write(
        folder / "resolver.conf",
        f"operator: {trusted}\nsystem_account: {system.public}\nresolver: MEMORY\nresolver_preload {{\n{preload}}}\n",
    )
    for role, permissions in ROLES.items():
        user = Key("user")
        jwt = account.sign(user, role.lower(), user_claims(permissions))
        _write(
            folder / f"{role.lower()}.creds",
            f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{user.seed.decode()}\n------END USER NKEY SEED------\n",
        )


_SYSTEM_LIMITS = {**_NO_LIMITS, "mem_storage": 0, "disk_storage": 0, "streams": 0, "consumer": 0, "wildcards": True}


def _write(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def _base32(data: bytes) -> str:
    return base64.b32encode(data).rstrip(b"=").decode()


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def main() -> None:
    """Make them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--jwt", action="store_true", help="JWTs and credentials files as well")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    try:
        write_nkeys(asked.folder)
        if asked.jwt:
            write_jwts(asked.folder)
    except FileExistsError as error:
        sys.exit(f"{error.filename} is there already; nothing of it was changed")


if __name__ == "__main__":
    main()
