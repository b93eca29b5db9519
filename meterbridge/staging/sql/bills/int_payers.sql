-- grain: one row per bill and customer that pays for it: its account's own, and whoever is invoiced in that one's place
-- reads: stg_bills, ref_accounts, raw_m3ter__external_mappings, stg_customers
-- why: a subscription that moved to another customer does not take an old bill along, so the bill's account tells who
--      pays; a ledger that does not know the account goes by m3ter's mapping, and without one by the account's code
create or replace table int_payers as
with mapped as (
    select m3terId as account_id, min(externalId) as customer_id from raw_m3ter__external_mappings
    where m3terEntity = 'Account' and externalTable = 'Customer' group by all having count(distinct externalId) = 1
),
billed as (
    select b.id as bill_id, coalesce(a.owner_id, m.customer_id, b.account_code) as customer_id
    from stg_bills as b
    left join ref_accounts as a on a.account_id = b.account_id
    left join mapped as m on m.account_id = b.account_id
),
known as (
    select b.bill_id, c.id as customer_id, c.invoice_owner_id from billed as b join stg_customers as c on c.id = b.customer_id
)
select bill_id, customer_id from known
union
select bill_id, invoice_owner_id from known where invoice_owner_id is not null
