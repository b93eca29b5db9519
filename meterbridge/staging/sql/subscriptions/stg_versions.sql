-- grain: one row per Chargebee subscription id and resource_version, once as listed or read by id, once as events showed it
-- reads: raw_chargebee__subscriptions, raw_chargebee__events
-- why: instants become BIGINT epoch seconds, NULL where the text is no number; a backdated change counts from its own
--      instant, one that came with a renewal from the term that began then, however late Chargebee's job ran
create or replace table stg_versions as
with seen as (
    select entry.subscription as s, entry.customer.id is not null as has_customer, true as listed, origin,
        null::bigint as told_at, null::varchar as event_type
    from raw_chargebee__subscriptions
    union all
    select entry.event.content.subscription, false, false, 'event',
        try_cast(entry.event.occurred_at as bigint), entry.event.event_type
    from raw_chargebee__events
    where entry.event.content.subscription.id is not null
),
told as (
    select *, bool_or(event_type = 'subscription_renewed') over (partition by s.id, s.resource_version) as renewed
    from seen
)
select
    s.id as id,
    s.customer_id as customer_id,
    s.status as status,
    s.currency_code as currency,
    try_cast(s.billing_period as bigint) as billing_period,
    s.billing_period_unit as billing_period_unit,
    try_cast(s.start_date as bigint) as start_date,
    try_cast(s.trial_end as bigint) as trial_end,
    try_cast(s.started_at as bigint) as started_at,
    try_cast(s.activated_at as bigint) as activated_at,
    try_cast(s.current_term_start as bigint) as current_term_start,
    try_cast(s.current_term_end as bigint) as current_term_end,
    try_cast(s.next_billing_at as bigint) as next_billing_at,
    try_cast(s.cancelled_at as bigint) as cancelled_at,
    try_cast(s.pause_date as bigint) as pause_date,
    try_cast(s.resume_date as bigint) as resume_date,
    try_cast(s.created_at as bigint) as created_at,
    try_cast(s.updated_at as bigint) as updated_at,
    coalesce(try_cast(s.resource_version as bigint), 0) as resource_version,
    coalesce(s.deleted = 'true', false) as deleted,
    s.auto_close_invoices = 'true' as auto_close,
    s.business_entity_id as business_entity_id,
    s.subscription_items as items,
    s.item_tiers as item_tiers,
    has_customer, listed, told_at,
    case
        when renewed and event_type in ('subscription_renewed', 'subscription_changed')
            and try_cast(s.current_term_start as bigint) <= told_at then try_cast(s.current_term_start as bigint)
        when event_type in ('subscription_changed', 'subscription_resumed', 'subscription_reactivated') then told_at
        when event_type in ('subscription_changed_with_backdating', 'subscription_reactivated_with_backdating')
            then least(coalesce(try_cast(s.changes_scheduled_at as bigint), told_at), told_at)
    end as changed_at
from told
qualify row_number() over (
    partition by s.id, coalesce(try_cast(s.resource_version as bigint), 0), listed
    order by changed_at desc nulls last, origin desc
) = 1
