

# ---- The source: read only, one instant, pages by key ---------------------------------------------------------------

Row = tuple[Any, ...]
Cells = list[list[Any]]  # child rows


def open_source(url: str) -> Source:
    """Opens the source that the plan was made for."""
    scheme, wanted = url.split(":", 1)[0], PLAN["dialect"]
    if {"postgresql": "postgres", "mariadb": "mysql"}.get(scheme, scheme) != wanted:
        raise Failure(f"the plan was made for {wanted}; the source URL has to begin with {wanted}:")
    return Source(url)
