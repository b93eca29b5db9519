-- grain: one row per Chargebee subscription id, the highest resource_version seen in this run
-- reads: raw_chargebee__subscriptions
-- why: lists repeat rows while data moves; instants become BIGINT epoch seconds, NULL where the text is no number
create or replace table stg_subscriptions as
select
    entry.subscription.id as id,
    entry.subscription.customer_id as customer_id,
    entry.subscription.status as status,
    entry.subscription.currency_code as currency,
    try_cast(entry.subscription.billing_period as bigint) as billing_period,
    entry.subscription.billing_period_unit as billing_period_unit,
    try_cast(entry.subscription.start_date as bigint) as start_date,
    try_cast(entry.subscription.trial_end as bigint) as trial_end,
    try_cast(entry.subscription.started_at as bigint) as started_at,
    try_cast(entry.subscription.activated_at as bigint) as activated_at,
    try_cast(entry.subscription.current_term_start as bigint) as current_term_start,
    try_cast(entry.subscription.current_term_end as bigint) as current_term_end,
    try_cast(entry.subscription.next_billing_at as bigint) as next_billing_at,
    try_cast(entry.subscription.cancelled_at as bigint) as cancelled_at,
    try_cast(entry.subscription.pause_date as bigint) as pause_date,
    try_cast(entry.subscription.resume_date as bigint) as resume_date,
    try_cast(entry.subscription.created_at as bigint) as created_at,
    try_cast(entry.subscription.updated_at as bigint) as updated_at,
    coalesce(try_cast(entry.subscription.resource_version as bigint), 0) as resource_version,
    coalesce(entry.subscription.deleted = 'true', false) as deleted,
    entry.subscription.auto_close_invoices = 'true' as auto_close,
    entry.subscription.subscription_items as items,
    entry.subscription.item_tiers as item_tiers,
    entry.customer.id is not null as has_customer
from raw_chargebee__subscriptions
qualify row_number() over (
    partition by entry.subscription.id
    order by coalesce(try_cast(entry.subscription.resource_version as bigint), 0) desc, origin desc
) = 1
