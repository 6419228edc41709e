#!/usr/bin/env python3
"""vectors.py: prints vectors.tsv, the records that the crate must make, by Python's own HMAC and by OpenSSL (through the
package `cryptography`). Columns: id, key, flags, name, associated data, plaintext, record; hexadecimal, "-" if empty."""

import hashlib
import hmac

from cryptography.hazmat.primitives.ciphers.aead import AESGCM


def mac(key: bytes, data: bytes) -> bytes:
    return hmac.new(key, data, hashlib.sha256).digest()


def expand(prk: bytes, info: bytes, length: int) -> bytes:
    """HKDF-Expand of RFC 5869."""
    block = result = b""
    while len(result) < length:
        block = mac(prk, block + info + bytes([len(result) // 32 + 1]))
        result += block
    return result[:length]


def seal(key_id: bytes, key: bytes, flags: int, name: bytes, associated: bytes, plaintext: bytes) -> bytes:
    prk = mac(b"sslsweep records 1", key)
    header = b"ss\x01" + bytes([flags]) + key_id
    parts = header, name, associated, plaintext
    salt = mac(expand(prk, b"mac", 32), b"".join(len(part).to_bytes(8, "big") + part for part in parts))
    okm = expand(expand(prk, b"record", 32), salt + header, 44)
    return header + salt + AESGCM(okm[:32]).encrypt(okm[32:], plaintext, associated)


def some(seed: str, length: int) -> bytes:
    return hashlib.shake_256(seed.encode()).digest(length)


def main() -> None:
    for number, (associated, plaintext) in enumerate([(0, 0), (1, 0), (0, 1), (70, 16), (64, 15), (33, 129), (70, 300), (3, 400)]):
        fields = [some(f"id {number}", 4), some(f"key {number}", 32), some(f"flags {number}", 1), some(f"name {number}", 16),
                  some(f"associated {number}", associated), some(f"plaintext {number}", plaintext)]
        record = seal(fields[0], fields[1], fields[2][0], *fields[3:])
        print(*[field.hex() or "-" for field in [*fields, record]], sep="\t")


if __name__ == "__main__":
    main()
