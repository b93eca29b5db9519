-- grain: one sound row of metered usage, at the second of the record that holds it
-- reads: stg_usage, ref_usage_spans, ref_usage_records
-- why: a record's second is its period's start, or where within it a billing term or an earlier record begins
create or replace table int_usage_quantities as
with sound as (
    select
        number,
        account as subscription_id,
        meter as item_price_id,
        ts,
        twin,
        regexp_extract(fields, '"quantity":(.*)}$', 1) as quantity,
        date_trunc($period, ts) as period
    from stg_usage
    where reason is null
),
placed as (
    select
        sound.*,
        spans.reason as closed,
        spans.begin_at::TIMESTAMP as opens
    from sound
    asof left join ref_usage_spans as spans
        on sound.subscription_id = spans.subscription_id and sound.ts >= spans.begin_at::TIMESTAMP
)
select
    placed.number,
    placed.subscription_id,
    placed.item_price_id,
    greatest(placed.period, placed.opens, records.begin_at::TIMESTAMP) as usage_date,
    placed.closed,
    placed.ts,
    placed.twin,
    cast(placed.quantity as DECIMAL(38, 10)) as quantity
from placed
asof left join ref_usage_records as records
    on placed.subscription_id = records.subscription_id
    and placed.item_price_id = records.item_price_id
    and placed.ts >= records.begin_at::TIMESTAMP
