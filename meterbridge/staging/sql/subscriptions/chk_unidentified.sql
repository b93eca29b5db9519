-- grain: one row per landed subscription without an id
-- reads: raw_chargebee__subscriptions
-- why: a row that cannot be named cannot be set aside, so the run must not go on
-- severity: fail
create or replace table chk_unidentified as
select origin, entry.subscription.customer_id as customer_id
from raw_chargebee__subscriptions
where entry.subscription.id is null
