
MOST_ITEMS = 2048  # texts at once


class Embedder(BaseEmbedder):
    """Asks a model of sentence-transformers."""

    def __init__(self, stop: threading.Event, usage: Usage) -> None:
        super().__init__(stop, usage)
        self.concurrency = 1
        self.local: Any = importlib.import_module("sentence_transformers").SentenceTransformer(self.model)

    def _vectors(self, texts: list[str], task: str = "RETRIEVAL_DOCUMENT") -> list[Vector[float]]:
        with self.lock:
            self.usage.add(requests=1, tokens=estimated_tokens(map(str.encode, texts)))
            return [Vector("f", vector.tolist()) for vector in self.local.encode(texts)]
