-- grain: one row per (subscription id, resource_version, item price id)
-- reads: stg_versions
-- why: an item has no id of its own; tiers of the same item price belong to its terms
create or replace table stg_version_items as
select
    s.id as subscription_id,
    s.resource_version as resource_version,
    i.item_price_id as item_price_id,
    coalesce(i.item_type, 'plan') as item_type,
    coalesce(i.quantity_in_decimal, i.quantity) as quantity,
    try_cast(i.unit_price as bigint) as unit_price,
    md5(concat_ws(
        '|',
        coalesce(i.quantity_in_decimal, i.quantity, '-'),
        coalesce(i.unit_price_in_decimal, i.unit_price, '-'),
        coalesce((
            select string_agg(t::varchar, ',' order by t::varchar)
            from unnest(from_json(s.item_tiers, '["json"]')) as tiers(t)
            where t ->> 'item_price_id' = i.item_price_id
        ), '-')
    )) as terms
from stg_versions as s, unnest(s.items) as items(i)
where i.item_price_id is not null
qualify row_number() over (
    partition by s.id, s.resource_version, i.item_price_id order by s.listed desc, i.item_type
) = 1
