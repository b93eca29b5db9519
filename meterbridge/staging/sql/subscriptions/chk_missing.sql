-- grain: one row per subscription that an event told of and that neither list nor id brought
-- reads: stg_versions, stg_subscriptions
-- why: what cannot be read must not be forgotten when the watermark moves on
-- severity: warn
create or replace table chk_missing as
select distinct id
from stg_versions
where not listed and id not in (select id from stg_subscriptions)
