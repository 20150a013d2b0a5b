"""What a column's type may be, as far as it can be told without a server; and which texts PostgreSQL would evaluate as its default. Pure.

A type without a schema is one of pg_catalog: the agent looks nowhere else. With a schema it may be the user's own, which only the server knows.
"""

import difflib
import re

# names side by side
# fmt: off

# what PostgreSQL 16 to 18 have in pg_catalog and a column can be of, and what SQL calls them
BASE = frozenset([
    "aclitem", "bit", "bool", "box", "bpchar", "bytea", "char", "cid", "cidr", "circle", "cstring", "date", "float4",
    "float8", "gtsvector", "inet", "int2", "int2vector", "int4", "int8", "interval", "json", "jsonb", "jsonpath",
    "line", "lseg", "macaddr", "macaddr8", "money", "name", "numeric", "oid", "oidvector", "path",
    "pg_brin_bloom_summary", "pg_brin_minmax_multi_summary", "pg_dependencies", "pg_lsn", "pg_mcv_list", "pg_ndistinct",
    "pg_node_tree", "pg_snapshot", "point", "polygon", "refcursor", "regclass", "regcollation", "regconfig",
    "regdictionary", "regnamespace", "regoper", "regoperator", "regproc", "regprocedure", "regrole", "regtype", "text",
    "tid", "time", "timestamp", "timestamptz", "timetz", "tsquery", "tsvector", "txid_snapshot", "uuid", "varbit",
    "varchar", "xid", "xid8", "xml", "int4range", "int8range", "numrange", "tsrange", "tstzrange", "daterange",
    "int4multirange", "int8multirange", "nummultirange", "tsmultirange", "tstzmultirange", "datemultirange", "bigint",
    "int", "integer", "smallint", "boolean", "character", "decimal", "dec", "real", "float", "nchar", "bigserial",
    "serial8"])
# of two or more words
PHRASES = (
    "double precision", "bit varying", "character varying", "char varying", "national character", "national char",
    "national character varying", "national char varying", "time with time zone", "time without time zone",
    "timestamp with time zone", "timestamp without time zone")
INTERVALS = tuple(f"interval {fields}" for fields in (
    "year", "month", "day", "hour", "minute", "second", "year to month", "day to hour", "day to minute",
    "day to second", "hour to minute", "hour to second", "minute to second"))
KNOWN = BASE | frozenset(PHRASES) | frozenset(INTERVALS)
NARROW_SERIALS = frozenset({"serial", "serial4", "serial2", "smallserial"})

# characters that a type's name, its numbers and its brackets are made of
TEXT = re.compile(r'[\w ".,()\[\]]+')
NUMBERS = re.compile(r"\(\s*-?\d+\s*(,\s*-?\d+\s*)*\)")
ARRAY = re.compile(r"(\s*\[\s*\d*\s*\])+$|\s+array(\s*\[\s*\d+\s*\])?$")

TIMES = frozenset({
    "date", "time", "timetz", "timestamp", "timestamptz", "tsrange", "tstzrange", "daterange", "tsmultirange",
    "tstzmultirange", "datemultirange"})
SEVERAL = frozenset({"tsrange", "tstzrange", "daterange", "tsmultirange", "tstzmultirange", "datemultirange"})
# PostgreSQL's date and time input reads these as the moment, and passes over brackets and dots around them
MOMENTS = frozenset({"now", "today", "tomorrow", "yesterday"})
TEXTS = frozenset({
    "text", "varchar", "char", "bpchar", "character", "name", "nchar", "json", "jsonb", "xml", "bytea",
    "character varying", "char varying"})
CALL = re.compile(r"\s*(\w+\s*\.\s*)*\w+\s*\(.*\)\s*", re.DOTALL)
KEYWORDS = frozenset({
    "current_timestamp", "current_date", "current_time", "localtime", "localtimestamp", "current_user", "session_user",
    "user", "current_role", "current_catalog", "current_schema"})
FUNCTIONS = {
    "now": "now", "current_timestamp": "now", "transaction_timestamp": "now", "clock_timestamp": "clock_timestamp",
    "statement_timestamp": "statement_timestamp", "gen_random_uuid": "gen_random_uuid", "uuidv4": "gen_random_uuid",
    "uuidv7": "uuidv7"}
# fmt: on


def type_fault(text: str) -> str | None:
    """Say why the text is no type that a column can have, None when it may be one."""
    if not TEXT.fullmatch(text):
        return "it has characters that no type has"
    if text.count('"') % 2:
        return "a quotation mark is not closed"
    if "." in text or '"' in text:
        # with a schema or in quotes: the server knows
        return None
    name = base(text)
    if name in KNOWN:
        return None
    if name in NARROW_SERIALS:
        return "it has no room for a range of its own on each node: use bigserial"
    near = difflib.get_close_matches(name, sorted(KNOWN), 1, 0.7)
    return f"PostgreSQL has no such type{f': is {near[0]} meant?' if near else ''}; name your own types with their schema, like public.mood"


def default_fault(text: str, default: str) -> str | None:
    """Say why the default, a text, is not the constant that it looks like for a column of this type; None when it is."""
    name = base(text)
    words = re.findall(r"[a-z_]+", default.lower())
    called = words[0] if words else ""
    evaluated = (name in TIMES or name.startswith(("time ", "timestamp "))) and MOMENTS & set(words)
    if not evaluated and (name in TEXTS or name not in KNOWN or not (CALL.fullmatch(default) or default.strip().lower() in KEYWORDS)):
        return None
    function = FUNCTIONS.get("now" if called == "today" else called) if name not in SEVERAL and not ARRAY.search(text.strip().lower()) else None
    form = f'write {{"function": "{function}"}}' if function else "give a constant"
    return f"{'PostgreSQL would read it as the moment of set-up, another one on each node' if evaluated else 'a call in a text is not made'}: {form}"


def base(text: str) -> str:
    """Return the type's name in lower case, without numbers and brackets, and without the schema or quotation marks of a type of PostgreSQL's own."""
    name = " ".join(ARRAY.sub("", NUMBERS.sub(" ", text.strip().lower())).split())
    own = name.replace('"', "").removeprefix("pg_catalog.").strip()
    # the names that SQL gives them are none of a schema's
    return own if own in BASE else name
