-- grain: one row per staged subscription or customer that no rule can judge, with what it misses
-- reads: stg_subscriptions
-- why: a broken record is set aside by name and stops nothing else; without its items it would look like all items removed
-- severity: warn
create or replace table chk_subscriptions as
select id, customer_id, resource_version, concat_ws(', ',
    case when customer_id is null then 'customer_id' end,
    case when status is null then 'status' end,
    case when currency is null then 'currency_code' end,
    case when coalesce(len(items), 0) = 0 then 'subscription_items' end,
    case when list_contains([i.item_price_id is null for i in items], true) then 'item_price_id' end
) as problem
from stg_subscriptions
where id is not null and not deleted and problem != ''
