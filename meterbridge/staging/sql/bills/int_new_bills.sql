-- grain: one row per bill of which something may stand at Chargebee that the ledger does not know
-- reads: stg_bills, ref_charges, ref_portions, run_facts
-- why: what stands of such a bill is looked for at both vendors before it is charged. A ledger that nobody vouches for
--      (restored, copied, written by another host last) knows of no bill what stands; one that is vouched for knows
--      every bill that it has a charge of, but for a portion that was set aside when the ledger was new
create or replace table int_new_bills as
select id from stg_bills
where id not in (select bill_id from ref_charges)
    or exists (select 1 from run_facts where name = 'ledger_doubt')
    or id in (
        select bill_id from ref_portions
        where state = 'quarantined'
            and (bill_id, subscription_id) not in (select (bill_id, subscription_id) from ref_charges)
    )
