-- grain: one row per Chargebee subscription id, the highest resource_version listed or read by id in this run
-- reads: stg_versions
-- why: lists repeat rows while data moves
create or replace table stg_subscriptions as
select * exclude (listed, told_at, changed_at)
from stg_versions
where listed
qualify row_number() over (partition by id order by resource_version desc) = 1
