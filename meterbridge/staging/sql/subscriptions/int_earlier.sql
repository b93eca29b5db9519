-- grain: one row per version of a staged subscription that an event showed, newer than what the ledger applied last
-- reads: stg_versions, stg_version_items, int_subscriptions, ref_account_plans
-- why: several changes between two runs are rebuilt, each at its own instant, as if somebody had looked after each
create or replace table int_earlier as
with applied as (
    select subscription_id, max(try_cast(source_version as bigint)) as source_version
    from ref_account_plans
    group by all
),
items as (
    select subscription_id, resource_version, list({
        'item_price_id': item_price_id, 'item_type': item_type, 'quantity': quantity,
        'unit_price': unit_price, 'terms': terms
    } order by item_type desc, item_price_id) as items
    from stg_version_items
    group by all
)
select v.* exclude (items, item_tiers, has_customer, listed), coalesce(i.items, []) as items,
    s.customer_id as present_customer_id
from stg_versions as v
join int_subscriptions as s on s.id = v.id and v.resource_version < s.resource_version
left join items as i on i.subscription_id = v.id and i.resource_version = v.resource_version
left join applied as a on a.subscription_id = v.id
where not v.listed and v.told_at is not null
    and v.customer_id is not null and v.status is not null and v.currency is not null
    and v.resource_version > coalesce(a.source_version, 0)
