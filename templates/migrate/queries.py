

# ---- Queries --------------------------------------------------------------------------------------------------------


def own_order(alias: str, column: dict[str, Any]) -> str:
    """Gives the term of the column's own order."""
    return f"{alias}.{quoted(column['name'])}"


def equal(left: str, right: str, pairs: list[dict[str, Any]]) -> str:
    """Gives the condition of a join: the pairs' `from` belongs to `left`, their `to` to `right`."""
    return " AND ".join(f"{left}.{quoted(pair['from'])} = {right}.{quoted(pair['to'])}" for pair in pairs)


def joined(parents: list[dict[str, Any]]) -> str:
    """Gives the N:1 joins, each on a unique key, so that they never multiply rows."""
    return "".join(
        f" LEFT JOIN {table_name(parent['table'])} AS {parent['alias']}"
        f" ON {equal(parent['left'], parent['alias'], parent['on'])}"
        for parent in parents
    )


SIGNS = {
    "eq": "=", "ne": "<>", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "in": "IN", "not_in": "NOT IN", "like": "LIKE",
    "is_null": "IS NULL", "is_not_null": "IS NOT NULL",
}  # fmt: skip


def conditions(filters: list[dict[str, Any]]) -> tuple[list[str], list[Any]]:
    """Gives what root rows have to be like, and the values to bind: they come before those of the keys."""
    terms: list[str] = []
    values: list[Any] = []
    for condition in filters:
        column, sign = own_order("r", condition["column"]), SIGNS[condition["op"]]
        places = [bound(len(values) + number) for number in range(len(condition["values"]))]
        values += [comparable(condition["column"]["data_type"], value) for value in condition["values"]]
        if condition["op"] in ("in", "not_in"):
            terms.append(f"{column} {sign} ({', '.join(places)})")
        elif condition["op"] == "like":
            terms.append(f"{column} {sign} {places[0]} ESCAPE '!'")
        else:
            terms.append(" ".join([column, sign, *places]))
    return terms, values


def where(*terms: str) -> str:
    """Gives the clause in which all of these hold."""
    return f" WHERE {' AND '.join(terms)}" if terms else ""


@dataclass
class Queries:
    """An entity's statements. Their texts are fixed; the filter's values and the keys where a page begins and ends are bound."""

    filter: list[Any]  # what is bound first, in every statement
    count: str  # root rows, and how many of them have NULL in their key
    first: str  # the first page of root rows
    after: str  # the page of root rows after a key
    children: list[str]  # for each children section, the rows of a page's root rows from a key to a key


def queries_of(source: Source, entity: dict[str, Any]) -> Queries:
    """Makes the statements of an entity."""
    key = entity["key"]
    order = [
        own_order("r", column) if source.is_bytewise(entity["root"], column["name"]) else by_bytes("r", column)
        for column in key
    ]
    fields = [section["source"] for section in entity["sections"] if section["section"] == "field"]
    fields += [item["source"] for item in entity["metadata"]]
    values = key_values(key) + [field_value(field) for field in fields]
    filters, filter_values = conditions(entity.get("filter", []))
    bounds = [bound(len(filter_values) + number) for number in range(2 * len(key))]
    low, high = bounds[: len(key)], bounds[len(key) :]
    root = f"{table_name(entity['root'])} AS r"
    nulls = " OR ".join(f"{own_order('r', column)} IS NULL" for column in key)
    pages = f"SELECT {', '.join(values)} FROM {root}{joined(entity['parents'])}"  # nosec B608: quoted
    limit = f"ORDER BY {', '.join(order)} LIMIT {PAGE}"
    page = where(*filters, compared(order, ">=", low), compared(order, "<=", high))
    return Queries(
        filter=filter_values,
        count=f"SELECT count(*), count(CASE WHEN {nulls} THEN 1 END) FROM {root}{where(*filters)}",  # nosec B608: quoted
        first=f"{pages}{where(*filters)} {limit}",
        after=f"{pages}{where(*filters, compared(order, '>', low))} {limit}",
        children=[
            children_query(entity, section, root, order, page)
            for section in entity["sections"]
            if section["section"] == "children"
        ],
    )


def children_query(entity: dict[str, Any], section: dict[str, Any], root: str, order: list[str], page: str) -> str:
    """Gives the children of root rows, in the order of the root rows and then in their own."""
    values = [as_text(column["alias"], column["column"], column["data_type"]) for column in section["columns"]]
    sequence = ", ".join(by_bytes("c", column) for column in section["order_by"])
    rows = (
        f"FROM {root} JOIN {table_name(section['table'])} AS c ON {equal('c', 'r', section['on'])}"
        f"{joined(section['parents'])}{page}"
    )
    return children_of(entity["key"], order, values, sequence, rows)


def check_queries(source: Source) -> dict[str, int]:
    """Has the source plan every query before anything is written, and counts the root rows."""
    counts = {}
    for entity in PLAN["entities"]:
        name, width = entity["name"], len(entity["key"])
        try:
            queries = queries_of(source, entity)
            for query, values in [(queries.first, 0), (queries.after, 1), *((query, 2) for query in queries.children)]:
                source.value(f"EXPLAIN {query}", queries.filter + [None] * values * width)
            ((counts[name], nulls),) = source.rows(queries.count, queries.filter)
        except DATABASE_ERRORS as error:
            raise Failure(
                f"the source no longer fits the plan of entity `{name}`: {database_message(error)};"
                " generate this file anew"
            ) from None
        if nulls:
            raise Failure(f"entity `{name}`: {nulls} rows have NULL in their key; choose another key, or correct them")
    return counts
