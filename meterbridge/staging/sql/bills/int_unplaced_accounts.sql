-- grain: one row per billed account, or child that a bill line names, whose account plans the ledger does not know or not all of
-- reads: stg_bills, stg_bill_lines, ref_account_plans
-- why: a lost ledger learns the account plans of what is subscribed now; a line of one that is over, or whose subscription
--      has another customer by now, would be taken for a line of whichever subscription is left
create or replace table int_unplaced_accounts as
select account_id
from (
    select account_id from stg_bills where status <> 'DELETED'
    union
    select child_account_id from stg_bill_lines where child_account_id is not null
)
where account_id not in (select account_id from ref_account_plans where account_id is not null)
union
select coalesce(l.child_account_id, b.account_id)
from stg_bills as b
join stg_bill_lines as l on l.bill_id = b.id
where b.status <> 'DELETED' and l.plan_id is not null and not exists (
    select 1 from ref_account_plans as p
    where p.plan_id = l.plan_id and p.account_id in (l.child_account_id, b.account_id)
)
