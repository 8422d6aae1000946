"""What sluice has recorded of a lane whose place it keeps itself, read from its store of tokens."""

import ctypes
import pathlib
import struct

_NOSUBDIR, _RDONLY, _NOTLS = 0x4000, 0x20000, 0x200000  # lmdb.h
_FIRST = 0


class _Value(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("data", ctypes.c_void_p)]


def finished(state):
    """How many messages of the only lane in the store are recorded as finished (src/core/positions.h)."""
    record = _first_lane(pathlib.Path(state) / "tokens.mdb")
    if record is None:
        return 0
    base, count = struct.unpack_from("<QQ", record, 9)  # behind when it expires, and a version
    ranges = struct.unpack_from(f"<{2 * count}Q", record, 25)
    return base + sum(last - first + 1 for first, last in zip(ranges[::2], ranges[1::2], strict=True))


def _first_lane(path):
    if not path.exists():
        return None
    lmdb = ctypes.CDLL("liblmdb.so.0")
    env, txn, cursor, table = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_uint()
    key, value = _Value(), _Value()
    record = None

    def must(code):
        assert code == 0, f"LMDB {code}"
    must(lmdb.mdb_env_create(ctypes.byref(env)))
    try:
        must(lmdb.mdb_env_set_maxdbs(env, 256))
        must(lmdb.mdb_env_open(env, str(path).encode(), _NOSUBDIR | _RDONLY | _NOTLS, 0o600))
        must(lmdb.mdb_txn_begin(env, None, _RDONLY, ctypes.byref(txn)))
        if lmdb.mdb_dbi_open(txn, b"lanes", 0, ctypes.byref(table)) == 0:
            must(lmdb.mdb_cursor_open(txn, table, ctypes.byref(cursor)))
            if lmdb.mdb_cursor_get(cursor, ctypes.byref(key), ctypes.byref(value), _FIRST) == 0:
                record = ctypes.string_at(value.data, value.size)
            lmdb.mdb_cursor_close(cursor)
        lmdb.mdb_txn_abort(txn)
    finally:
        lmdb.mdb_env_close(env)
    return record
