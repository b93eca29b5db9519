-- grain: one measurement whose uid an earlier row of the input has
-- reads: stg_usage, int_usage_suspects
-- why: m3ter would keep the first and report the others; here each is told apart as a repetition or a contradiction
create or replace table int_usage_twins as
with among as (
    select number, source_row, uid, hash(ts, ets, fields) as content
    from stg_usage semi join int_usage_suspects using (twin)
    where reason is null
)
select
    number,
    case when content = first_value(content) over earlier then 'duplicate' else 'duplicate_changed' end as reason,
    'row ' || first_value(source_row) over earlier as subject
from among
window earlier as (partition by uid order by number)
qualify row_number() over earlier > 1
