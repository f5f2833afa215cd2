

# ---- The source: read only, one instant -----------------------------------------------------------------------------

Row = tuple[Any, ...]
Values = dict[str, Any]  # what is bound in a statement, by name
Cells = list[list[Any]]  # child rows
