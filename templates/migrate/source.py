

# ---- The source: read only, one instant, pages by key ---------------------------------------------------------------

Row = tuple[Any, ...]
Values = dict[str, Any]  # what is bound in a statement, by name
Cells = list[list[Any]]  # child rows


def named(prefix: str, values: Sequence[Any]) -> Values:
    """Names the values of a key as the plan's statements have them."""
    return {f"{prefix}_{number}": value for number, value in enumerate(values)}
