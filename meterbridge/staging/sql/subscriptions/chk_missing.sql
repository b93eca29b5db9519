-- grain: one row per subscription that an event told of, that was asked for by id and that Chargebee did not show
-- reads: stg_versions, stg_subscriptions, ref_asked
-- why: what cannot be read must not be forgotten when the watermark moves on; what was told of just now may come yet
-- severity: warn
create or replace table chk_missing as
select id
from stg_versions
where not listed
    and id not in (select id from stg_subscriptions)
    and id in (select id from ref_asked where resource = 'subscription')
group by id
having max(told_at) <= $until
