
MOST_ITEMS = 2048  # texts at once


class Embedder(BaseEmbedder):
    """Asks a model of sentence-transformers: a name, or a folder that has one."""

    def __init__(self, stop: threading.Event, usage: Usage) -> None:
        super().__init__(stop, usage)
        self.concurrency, self.turn = 1, threading.Lock()
        self.local: Any = importlib.import_module("sentence_transformers").SentenceTransformer(self.model)

    def _vectors(self, texts: list[str], task: str = "RETRIEVAL_DOCUMENT") -> list[Vector[float]]:
        self.usage.add(requests=1, tokens=estimated_tokens(map(str.encode, texts)))
        with self.turn:
            return [Vector("f", vector.tolist()) for vector in self.local.encode(texts)]
