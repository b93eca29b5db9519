-- grain: one row per account plan of a billed account, or of a child that a bill line names, and the subscription item it stands for
-- reads: ref_account_plans, raw_m3ter__account_plans, raw_m3ter__external_mappings, raw_m3ter__plans,
--        ref_catalog_plans, stg_bills, stg_bill_lines
-- why: the ledger knows best; of an account plan that it does not know, m3ter's own mapping tells. The external id
--      is "<subscription id>-<item price id>": the catalog's item price of that plan says where to cut it.
create or replace table int_placed_plans as
select account_plan_id, account_id, plan_id, subscription_id, item_price_id, "start" as start_at, "end" as end_at
from ref_account_plans
where account_id in (
    select account_id from stg_bills
    union all select child_account_id from stg_bill_lines where child_account_id is not null
)
union all
select
    p.id, p.accountId, p.planId,
    left(m.externalId, length(m.externalId) - length(c.item_price) - 1), c.item_price, p.startDate, p.endDate
from raw_m3ter__account_plans as p
join raw_m3ter__external_mappings as m
    on m.m3terId = p.id and m.m3terEntity = 'AccountPlan' and m.externalTable = 'Subscription'
join raw_m3ter__plans as t on t.id = p.planId
join ref_catalog_plans as c on c.plan = t.code and ends_with(m.externalId, '-' || c.item_price)
where p.id not in (select account_plan_id from ref_account_plans where account_plan_id is not null)
qualify row_number() over (partition by p.id order by length(c.item_price) desc) = 1
