-- grain: one row per subscription id with a change event in the window
-- reads: raw_chargebee__events
-- why: a change takes effect at its event's instant, which the subscription row does not keep
create or replace table stg_changes as
select
    entry.event.content.subscription.id as subscription_id,
    max(try_cast(entry.event.occurred_at as bigint)) as changed_at
from raw_chargebee__events
where entry.event.event_type in (
        'subscription_changed', 'subscription_changed_with_backdating', 'subscription_resumed',
        'subscription_reactivated', 'subscription_reactivated_with_backdating'
    )
    and entry.event.content.subscription.id is not null
group by all
