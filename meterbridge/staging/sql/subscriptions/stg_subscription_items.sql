-- grain: one row per (subscription id, item price id) of the subscription's present version
-- reads: stg_version_items, stg_subscriptions
-- why: what an event showed earlier is no item any more
create or replace table stg_subscription_items as
select i.subscription_id, i.item_price_id, i.item_type, i.quantity, i.unit_price, i.terms
from stg_version_items as i
join stg_subscriptions as s on s.id = i.subscription_id and s.resource_version = i.resource_version
