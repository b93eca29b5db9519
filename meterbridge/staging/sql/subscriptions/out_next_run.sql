-- grain: one row per subscription that this run has seen and leaves to the next one
-- reads: stg_versions, stg_subscriptions, ref_asked
-- why: lists and events come late, each in its own time: a version younger than the hold-back counts from an instant
--      that only its own event tells, and what an event told of just now may not be shown yet
create or replace table out_next_run as
with told as (
    select id, resource_version, told_at from stg_versions where not listed
    union all
    select id, version::bigint, null from ref_asked where resource = 'subscription'
)
select s.id as subscription_id, s.resource_version, 'no event told of this version yet' as why
from stg_subscriptions as s
where s.updated_at > $until
    and not exists (select 1 from told as t where t.id = s.id and t.resource_version in (0, s.resource_version))
union all
select id, max(resource_version), 'told of just now, and not shown yet'
from told
where id not in (select id from stg_subscriptions)
group by id
having max(told_at) > $until
