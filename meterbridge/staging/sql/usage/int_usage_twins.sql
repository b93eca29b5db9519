-- grain: one measurement whose uid an earlier row of the input has
-- reads: stg_usage, int_usage_suspects, int_usage_contents
-- why: m3ter would keep the first; a row that is equal in every column is told apart from one that only shares the key
create or replace table int_usage_twins as
with among as (
    select stg_usage.number, stg_usage.source_row, stg_usage.uid, contents.content
    from stg_usage
    semi join int_usage_suspects using (twin)
    left join int_usage_contents as contents using (source_row)
    where stg_usage.reason is null
)
select
    number,
    case when content = first_value(content) over earlier then 'duplicate' else 'duplicate_changed' end as reason,
    'row ' || first_value(source_row) over earlier as subject
from among
window earlier as (partition by uid order by number)
qualify row_number() over earlier > 1
