
# The plan: data only. Everything that comes from a database or from a person stands between these quotes.
PLAN_JSON = r'''{{ plan }}'''  # fmt: skip
PLAN: dict[str, Any] = json.loads(PLAN_JSON)

PAGE = 4096  # most root rows that are read and compared with the target at once
FIRST_PAGE = 256  # of them at first, so that the API has something to do at once; each page has twice those of the one before
PAGE_BYTES = 8 * 1024 * 1024  # where a page ends earlier
FIRST_FETCH, FETCH = 64, 1024  # rows that the source sends at once; few at first, as they may be long
REQUEST_BYTES = 8 * 1024 * 1024  # most bytes of text in one request
WRITE_ROWS = 8192  # about so many rows are written in one transaction if they are ready
REFUSALS_IN_A_ROW = 100  # single texts; then the API is at fault and not the texts
VECTOR_LIMIT, HNSW_LIMIT, TYPE_LIMIT = 2000, 4000, 16000  # dimensions: vector's index, halfvec's index, halfvec
LOCK_SECONDS = 10.0  # a killed run's connection needs a moment to let go of the lock
ORPHAN_SECONDS = 3.0  # to finish in, once the program that started this one is gone
STOP_SECONDS = 25  # to finish in, once a signal asked for it
SILENCE_SECONDS = 3600.0  # for one answer of a database; a large table takes its time to be counted
INDEX_SECONDS = 7 * 86400.0  # for the index
PASSES = 6  # most passes in a row that a lost connection ends without anything new written
BYTES_A_TOKEN = 4  # an estimate
