

# ---- Vectors --------------------------------------------------------------------------------------------------------

Vector = array.array  # of 32-bit floats


class TextRefused(Exception):
    """The API does not take one of the texts of a request, or gave a vector for it that cannot be used."""


@dataclass
class Usage:
    """What the API was asked, as the report shows it."""

    tokens: int = 0
    requests: int = 0
    retries: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, tokens: int = 0, requests: int = 0, retries: int = 0) -> None:
        """Counts."""
        with self.lock:
            self.tokens += tokens
            self.requests += requests
            self.retries += retries


def estimated_tokens(texts: Iterable[bytes]) -> int:
    """Estimates the tokens of texts from above."""
    return sum(-(-len(text) // ESTIMATE_BYTES_A_TOKEN) for text in texts)


class BaseEmbedder:
    """Turns texts into vectors as PostgreSQL stores them; all threads share one. The provider is a class below."""

    def __init__(self, stop: threading.Event, usage: Usage) -> None:
        plan = PLAN["embedding"]
        self.stop, self.usage = stop, usage
        self.model, self.asked, self.concurrency = plan["model"], plan["dimensions"], max(1, plan["concurrency"])
        self.dimensions: int | None = None
        self.lock = threading.Lock()
        self.refusals = 0

    def probe(self) -> int:
        """Asks for one vector and gives its dimension, before anything is written."""
        try:
            vector = self._vectors(["relvec asks for the dimension"])[0]
        except TextRefused as refusal:
            raise Failure(
                f"the embedding API refuses a first text: {refusal}; check the model `{self.model}`"
            ) from None
        if self.asked and len(vector) != self.asked:
            raise Failure(
                f"the model `{self.model}` gives {len(vector)} numbers and the plan wants {self.asked};"
                " correct `dimensions` in the job",
                "dimension",
            )
        if not 0 < len(vector) <= TYPE_LIMIT:
            raise Failure(f"the model `{self.model}` gives {len(vector)} numbers; pgvector stores up to {TYPE_LIMIT}")
        self.dimensions = len(vector)
        return self.dimensions

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
            with self.lock:
                self.refusals += 1
            if self.refusals >= REFUSALS_IN_A_ROW:
                raise Failure(
                    f"the embedding API refuses every text: {refusal}; check the model and its limits"
                ) from None
            return [redact(str(refusal))]
        self.refusals = 0
        return vectors

    def _packed(self, vector: Vector[float]) -> bytes:
        if len(vector) != self.dimensions:
            raise Failure(
                f"the model `{self.model}` gives {len(vector)} numbers where {self.dimensions} are needed; nothing of"
                " that reply is kept; if the model was changed, choose another table in the job",
                "dimension",
            )
        if sys.byteorder == "little":
            vector.byteswap()
        body = vector.tobytes()
        # A number can only be infinite or NaN if its first byte is one of these; the norm only be 0 if all bytes are.
        first = body[::4]
        if b"\x7f" in first or b"\xff" in first or not body.strip(b"\x80\0"):
            norm = math.hypot(*struct.unpack(f">{len(vector)}f", body))
            if not 0.0 < norm < math.inf:
                raise TextRefused("the vector has a norm of zero or a number that is not finite")
        head = struct.pack(">hh", len(vector), 0)
        if len(vector) > VECTOR_LIMIT:
            try:
                body = struct.pack(f">{len(vector)}e", *struct.unpack(f">{len(vector)}f", body))
            except OverflowError:
                raise TextRefused("a number of the vector is too large for halfvec") from None
            if not body.strip(b"\x80\0"):
                raise TextRefused("the numbers of the vector are too small for halfvec")
        return head + body

    def _vectors(self, texts: list[str], task: str = "RETRIEVAL_DOCUMENT") -> list[Vector[float]]:
        raise NotImplementedError
