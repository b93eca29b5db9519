-- grain: one row per staged subscription that a rule can judge, its items nested
-- reads: stg_subscriptions, stg_subscription_items, chk_subscriptions, stg_changes, out_next_run, ref_account_plans
-- why: a row older than what the ledger applied came from a lagging list and is left out; the instant of a change that
--      an earlier version brought is that version's
create or replace table int_subscriptions as
with applied as (
    select subscription_id, max(try_cast(source_version as bigint)) as source_version
    from ref_account_plans
    group by all
),
items as (
    select subscription_id, list({
        'item_price_id': item_price_id, 'item_type': item_type, 'quantity': quantity,
        'unit_price': unit_price, 'terms': terms
    } order by item_type desc, item_price_id) as items
    from stg_subscription_items
    group by all
)
select s.* exclude (items, item_tiers, has_customer), coalesce(i.items, []) as items, c.changed_at
from stg_subscriptions as s
left join items as i on i.subscription_id = s.id
left join stg_changes as c on c.subscription_id = s.id and c.resource_version in (0, s.resource_version)
left join applied as a on a.subscription_id = s.id
where s.id not in (select id from chk_subscriptions)
    and s.id not in (select subscription_id from out_next_run)
    and s.customer_id is not null
    and s.resource_version >= coalesce(a.source_version, 0)
