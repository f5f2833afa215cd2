

# ---- Vectors --------------------------------------------------------------------------------------------------------

Vector = array.array  # of 32-bit floats


class TextRefused(Exception):
    """The API does not take one of the texts of a request, or gave a vector for it that cannot be used."""


def estimated_tokens(texts: Iterable[bytes]) -> int:
    """Estimates the tokens of texts from above."""
    return sum(-(-len(text) // BYTES_A_TOKEN) for text in texts)


class Usage:
    """What the API was asked, as the report shows it."""

    def __init__(self) -> None:
        self.tokens = self.requests = self.retries = 0
        self.lock = threading.Lock()

    def add(self, tokens: int = 0, requests: int = 0, retries: int = 0) -> None:
        """Counts."""
        with self.lock:
            self.tokens, self.requests, self.retries = self.tokens + tokens, self.requests + requests, self.retries + retries


class BaseEmbedder:
    """Turns texts into vectors as PostgreSQL stores them; all threads share one. The provider is a class below."""

    def __init__(self, stop: threading.Event, usage: Usage) -> None:
        plan = PLAN["embedding"]
        self.stop, self.usage, self.refusals, self.dimensions = stop, usage, 0, 0
        self.model, self.asked, self.concurrency = plan["model"], plan["dimensions"], max(1, plan["concurrency"])

    def probe(self) -> int:
        """Asks for one vector and gives its dimension, before anything is written."""
        try:
            found = len(self._vectors(["relvec asks for the dimension"])[0])
        except TextRefused as refusal:
            raise Failure(f"the embedding API refuses a first text: {refusal}; check the model `{self.model}`") from None
        if found != (self.asked or found) or not 0 < found <= TYPE_LIMIT:
            wanted = f"the plan wants {self.asked}" if self.asked else f"pgvector stores up to {TYPE_LIMIT}"
            text = f"the model `{self.model}` gives {found} numbers and {wanted}; correct `dimensions` or the model in the job"
            raise Failure(text, "dimension")
        return found

    def query(self, text: str) -> list[float]:
        """Gives the vector of a search's text."""
        try:
            return list(self._vectors([text], "RETRIEVAL_QUERY")[0])
        except TextRefused as refusal:
            raise Failure(f"the embedding API refuses the query: {redact(str(refusal))}") from None

    def embed(self, texts: list[str]) -> list[bytes | str]:
        """Gives for each text its vector as PostgreSQL stores it, or the reason why it has none."""
        try:
            vectors: list[bytes | str] = [self._packed(vector) for vector in self._vectors(texts)]
        except TextRefused as refusal:
            if len(texts) > 1:
                half = len(texts) // 2
                return self.embed(texts[:half]) + self.embed(texts[half:])
            self.refusals += 1
            if self.refusals >= REFUSALS_IN_A_ROW:
                text = f"the embedding API refuses every text: {refusal}; check the model and its limits"
                raise Failure(text, "texts_refused") from None
            return [redact(str(refusal))]
        self.refusals = 0
        return vectors

    def _packed(self, vector: Vector[float]) -> bytes:
        count = len(vector)
        if count != self.dimensions:
            text = f"the model `{self.model}` gives {count} numbers where {self.dimensions} are needed; nothing of that reply is kept"
            raise Failure(f"{text}; if the model was changed, choose another table in the job", "dimension")
        if sys.byteorder == "little":
            vector.byteswap()
        body = vector.tobytes()
        # A number can only be infinite or NaN if its first byte is one of these; the norm only be 0 if all bytes are.
        first = body[::4]
        if b"\x7f" in first or b"\xff" in first or not body.strip(b"\x80\0"):
            norm = math.hypot(*struct.unpack(f">{count}f", body))
            if not 0.0 < norm < math.inf:
                raise TextRefused("the vector has a norm of zero or a number that is not finite")
        if count > VECTOR_LIMIT:
            try:
                body = struct.pack(f">{count}e", *struct.unpack(f">{count}f", body))
            except OverflowError:
                raise TextRefused("a number of the vector is too large for halfvec") from None
            if not body.strip(b"\x80\0"):
                raise TextRefused("the numbers of the vector are too small for halfvec")
        return struct.pack(">hh", count, 0) + body

    def _vectors(self, texts: list[str], task: str = "RETRIEVAL_DOCUMENT") -> list[Vector[float]]:
        raise NotImplementedError
