"""Checks a bundle of Settled against a verifier key: python3 verify.py BUNDLE KEY. Needs the package `cryptography`."""
import base64, hashlib, json, sys
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

def sha(data): return hashlib.sha256(data).digest()
def canonical(value): return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)  # RFC 8785
def need(holds, what): holds or sys.exit(what)  # no assert, which -O would take away
def read(text, loads, dumps):  # the one text that there is for a value
    need(dumps(loads(text)) == text, f"not as Settled writes it: {text[:99]}")
    return loads(text)
def parsed(line): return read(line, json.loads, lambda value: canonical(value) + "\n")
def b64(text): return read(text, base64.b64decode, lambda data: base64.b64encode(data).decode())
head, *items = [parsed(line) for line in open(sys.argv[1], encoding="utf-8", newline="\n")]
name, key_id, key = sys.argv[2].split("+", 2)  # a C2SP verifier key, got over a way that you trust
text, signatures = head["checkpoint"].split("\n\n")  # a C2SP signed note; others may have signed it, too
origin, size, root = text.split("\n")
lines = [line.split(" ") for line in signatures.splitlines()]
need(all(len(line) == 3 and line[0] == "—" and b64(line[2]) for line in lines), "the checkpoint's signatures were altered")
own = [b64(line[2]) for line in lines if line[1] == name]
own = [signed for signed in own if signed[:4].hex() == key_id == sha(f"{name}\n".encode() + b64(key))[:4].hex()]
need(origin == name and own, f"the checkpoint is not signed by {name}")
Ed25519PublicKey.from_public_bytes(b64(key)[1:]).verify(own[0][4:], f"{text}\n".encode())  # raises if not so
first, last_of, form = head["from"], head["to"], head["format"]
need(len(head) == 4 and form == "settled-bundle-1" and type(first) is type(last_of) is int, "its first line was altered")
need(1 <= first <= last_of <= int(size), "its first line says other events than the checkpoint covers")
versions = [item["event"]["version"] for item in items]
need(versions == list(range(first, last_of + 1)), f"{versions} are not the events that it says")
need(all(len(item) == 2 for item in items), "there is more than events and their proofs")
for item in items:
    node, last, digest = item["event"]["version"] - 1, int(size) - 1, sha(b"\0" + canonical(item["event"]).encode())
    for beside in map(b64, item["proof"]):  # RFC 9162, 2.1.3.2
        right = node & 1 or node == last
        while right and not node & 1 and node: node, last = node >> 1, last >> 1
        digest, node, last = sha(b"\1" + (beside + digest if right else digest + beside)), node >> 1, last >> 1
    named = f"event {item['event']['version']} ({item['event']['id']}) was altered"
    need(last == 0 and digest == b64(root) and item["event"]["stream"] == origin.split("/")[-2], named)
print(f"Events {first} to {last_of} of {origin} are as recorded.")
