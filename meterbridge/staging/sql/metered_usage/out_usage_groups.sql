-- grain: one usage record that Chargebee is to hold: a subscription, item price and second
-- reads: int_usage_quantities, chk_usage_rejects, ref_usage_items, ref_usage_records
-- why: Chargebee takes few records in a subscription's life, and brings those of a term together as the item says
create or replace table out_usage_groups as
with kept as (
    select * from int_usage_quantities anti join chk_usage_rejects using (number)
),
counted as (
    select
        kept.*,
        list_contains(string_split(records.sketch, ','), kept.twin::VARCHAR) as seen
    from kept
    left join ref_usage_records as records
        on kept.subscription_id = records.subscription_id
        and kept.item_price_id = records.item_price_id
        and kept.usage_date = records.begin_at::TIMESTAMP
)
select
    counted.subscription_id,
    counted.item_price_id,
    epoch(counted.usage_date)::BIGINT as usage_date,
    any_value(items.calculation) as calculation,
    any_value(counted.closed) as closed,
    count(*) as row_count,
    count(*) filter (where counted.seen) as seen,
    min(counted.twin, 32)::VARCHAR[] as sketch,
    case any_value(items.calculation)
        when 'max_usage' then max(counted.quantity)
        when 'last_usage' then arg_max(counted.quantity, struct_pack(ts := counted.ts, number := counted.number))
        else sum(counted.quantity)
    end::VARCHAR as quantity
from counted
left join ref_usage_items as items on counted.item_price_id = items.item_price_id
group by all
order by counted.subscription_id, counted.item_price_id, usage_date
