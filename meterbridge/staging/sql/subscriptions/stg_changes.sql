-- grain: one row per subscription id with a change event in the window
-- reads: stg_versions
-- why: a change takes effect at its event's instant, which the subscription row does not keep; the last change counts
create or replace table stg_changes as
select
    id as subscription_id,
    arg_max(changed_at, (resource_version, told_at)) as changed_at,
    max(resource_version) as resource_version
from stg_versions
where changed_at is not null
group by all
