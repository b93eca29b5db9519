-- grain: one row per account plan that stands in m3ter for an item of ours, or on an account of ours
-- reads: raw_m3ter__account_plans, raw_m3ter__external_mappings, raw_m3ter__plans, ref_account_plans, ref_accounts,
--        ref_catalog_plans, ref_other_sites
-- why: the ledger says whose an account plan is, else its mapping does; one that nobody claims keeps empty names
create or replace table int_standing_plans as
with mapped as (
    select m3terId as account_plan_id, externalId as external_id
    from raw_m3ter__external_mappings
    where m3terEntity = 'AccountPlan' and externalTable = 'Subscription'
),
ours as (
    select account_id from ref_accounts
    union
    select m3terId from raw_m3ter__external_mappings where m3terEntity = 'Account' and externalTable = 'Customer'
)
select
    p.id as account_plan_id,
    p.accountId as account_id,
    p.code as code,
    coalesce(p.planId, '') as plan_id,
    p.startDate as start_at,
    p.endDate as end_at,
    p.billEpoch as bill_epoch,
    coalesce(
        k.subscription_id,
        case when c.item_price is not null then left(m.external_id, length(m.external_id) - length(c.item_price) - 1) end,
        m.external_id, ''
    ) as subscription_id,
    coalesce(k.item_price_id, c.item_price, '') as item_price_id
from raw_m3ter__account_plans as p
left join ref_account_plans as k on k.account_plan_id = p.id
left join mapped as m on m.account_plan_id = p.id
left join raw_m3ter__plans as t on t.id = p.planId
left join ref_catalog_plans as c on c.plan = t.code and ends_with(m.external_id, '-' || c.item_price)
where p.accountId not in (select account_id from ref_other_sites)
    and (k.account_plan_id is not null or m.external_id is not null or p.accountId in (select account_id from ours))
qualify row_number() over (partition by p.id order by length(c.item_price) desc nulls last) = 1
