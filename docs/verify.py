"""Checks a bundle of Settled against a verifier key: python3 verify.py BUNDLE KEY. Needs the package `cryptography`."""
import base64, hashlib, json, sys
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

sha, b64 = (lambda data: hashlib.sha256(data).digest()), (lambda text: base64.b64decode(text, validate=True))
head, *items = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8", newline="\n")]
name, key_id, key = sys.argv[2].split("+", 2)  # a C2SP verifier key, got over a way that you trust
text, signature = head["checkpoint"].split("\n\n")  # a C2SP signed note
origin, size, root = text.split("\n")
signer, signed = signature.removeprefix("— ").split()
assert origin == name == signer and b64(signed)[:4].hex() == key_id == sha(f"{name}\n".encode() + b64(key))[:4].hex()
Ed25519PublicKey.from_public_bytes(b64(key)[1:]).verify(b64(signed)[4:], f"{text}\n".encode())  # raises if not so
versions = [item["event"]["version"] for item in items]
assert versions == list(range(head["from"], head["to"] + 1)), f"{versions} are not the events that it says"
for item in items:
    event = json.dumps(item["event"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)  # RFC 8785
    node, last, digest = item["event"]["version"] - 1, int(size) - 1, sha(b"\0" + event.encode())  # RFC 9162, 2.1.3.2
    for beside in map(b64, item["proof"]):
        right = node & 1 or node == last
        while right and not node & 1 and node: node, last = node >> 1, last >> 1
        digest, node, last = sha(b"\1" + (beside + digest if right else digest + beside)), node >> 1, last >> 1
    named = f"event {item['event']['version']} ({item['event']['id']}) was altered"
    assert last == 0 and digest == b64(root) and item["event"]["stream"] == origin.split("/")[-2], named
print(f"Events {head['from']} to {head['to']} of {origin} are as recorded.")
