-- grain: one row per m3ter bill read in this run that a rule can judge
-- reads: raw_m3ter__bills, chk_bills, ref_accounts
-- why: money stays text until Python reads it as Decimal; only counters and flags are typed. Whose an account is the
--      ledger says, also of one that holds a single subscription; only of a strange one its code is all there is
create or replace table stg_bills as
select
    b.id,
    try_cast(b.version as bigint) as version,
    b.accountId as account_id,
    b.accountCode as account_code,
    coalesce(r.owner_id, b.accountCode, '') as customer_id,
    b.status,
    coalesce(b.locked = 'true', false) as locked,
    b.currency,
    billDate as bill_date,
    startDateTimeUTC as start_utc,
    endDateTimeUTC as end_utc,
    lastCalculatedDate as last_calculated,
    dtLastModified as last_modified,
    billTotal as total
from raw_m3ter__bills as b
left join ref_accounts as r on r.account_id = b.accountId
where b.id not in (select id from chk_bills)
qualify row_number() over (partition by b.id order by try_cast(b.version as bigint) desc) = 1
