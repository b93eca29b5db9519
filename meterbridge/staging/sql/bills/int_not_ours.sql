-- grain: one row per bill of an account that is billed elsewhere
-- reads: stg_bills, stg_bill_lines, ref_accounts, raw_m3ter__external_mappings, int_placed_plans, stg_customers,
--        ref_charges, ref_settled, ref_unproven
--        ref_other_sites
-- why: an organisation may bill customers that Chargebee does not know. What the ledger, a mapping, an account plan of
--      ours or a customer's id speaks for is ours, and told where it cannot be charged; so is what was charged once
create or replace table int_not_ours as
with ours as (
    select account_id from ref_accounts
    union all
    select m3terId from raw_m3ter__external_mappings where m3terEntity = 'Account' and externalTable = 'Customer'
    union all
    select account_id from int_placed_plans
),
touched as (
    select bill_id from ref_charges
    union all select bill_id from ref_settled
    union all select bill_id from ref_unproven
    union all
    select bill_id from stg_bill_lines where child_account_id in (select account_id from ours where account_id is not null)
)
select id as bill_id
from stg_bills
where account_id in (select account_id from ref_other_sites)
    or account_id not in (select account_id from ours where account_id is not null)
    and coalesce(account_code, '') not in (select id from stg_customers)
    and id not in (select bill_id from touched)
