-- grain: one row per m3ter bill read in this run that a rule can judge
-- reads: raw_m3ter__bills, chk_bills
-- why: money stays text until Python reads it as Decimal; only counters and flags are typed
create or replace table stg_bills as
select
    id,
    try_cast(version as bigint) as version,
    accountId as account_id,
    accountCode as account_code,
    status,
    coalesce(locked = 'true', false) as locked,
    currency,
    billDate as bill_date,
    startDateTimeUTC as start_utc,
    endDateTimeUTC as end_utc,
    lastCalculatedDate as last_calculated,
    dtLastModified as last_modified,
    billTotal as total
from raw_m3ter__bills
where id not in (select id from chk_bills)
qualify row_number() over (partition by id order by try_cast(version as bigint) desc) = 1
