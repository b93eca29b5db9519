-- grain: one row per difference of the two sides; `why` is empty where nobody knows of it
-- reads: $differences (a JSON array)
-- why: whoever opens the file sees what the report said; money is minor units, standing less wanted
create or replace table out_differences as
select unnest(from_json($differences, '[{
    "disagreement": "VARCHAR", "what": "VARCHAR", "key": "VARCHAR", "wanted": "VARCHAR", "found": "VARCHAR",
    "money": "BIGINT", "currency": "VARCHAR", "why": "VARCHAR", "code": "VARCHAR", "message": "VARCHAR"
}]'), recursive := true)
