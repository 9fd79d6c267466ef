"""At which bytes of its footer pyarrow reads a file with bit (5 times the offset) mod 8 changed. arrow_flips.py FILE"""
import json, sys
import pyarrow as pa

data = open(sys.argv[1], "rb").read()
end = len(data) - 10
start = end - int.from_bytes(data[end : end + 4], "little", signed=True)
read = []
for at in range(start, end):
    changed = bytearray(data)
    changed[at] ^= 1 << (5 * at % 8)
    try:
        pa.ipc.open_file(pa.BufferReader(bytes(changed))).read_all()
        read.append(at)
    except Exception:
        pass
print(json.dumps([start, end, read]))
