-- grain: one row per account plan of ours that was looked at in m3ter and stands otherwise than we left it, or is gone
-- reads: ref_account_plans, ref_looked_at, raw_m3ter__account_plans
-- why: what a person did by hand is noticed and never undone unasked
-- severity: warn
create or replace table chk_foreign_edits as
select
    k.*,
    p.id is null as gone,
    p.accountId as found_account_id,
    p.planId as found_plan_id,
    p.startDate as found_start,
    p.endDate as found_end,
    p.billEpoch as found_epoch,
    p.code as found_code,
    p.id is not null as seen
from ref_account_plans as k
join (select distinct id from ref_looked_at) as l on l.id = k.account_plan_id
left join raw_m3ter__account_plans as p on p.id = k.account_plan_id
where p.id is null
    or p.accountId <> k.account_id
    or p.planId is distinct from k.plan_id
    or try_cast(p.startDate as timestamptz) is distinct from try_cast(k.start as timestamptz)
    or p.billEpoch <> k.bill_epoch
    or (k.bill_epoch is not null and p.billEpoch is null)
    or try_cast(p.endDate as timestamptz) is distinct from try_cast(k.end as timestamptz)
qualify row_number() over (partition by k.account_plan_id order by p.startDate) = 1
