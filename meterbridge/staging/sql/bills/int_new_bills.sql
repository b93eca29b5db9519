-- grain: one row per bill of which something may stand at Chargebee that the ledger does not know
-- reads: stg_bills, ref_charges, ref_portions
-- why: what stands of such a bill is looked for at both vendors before it is charged; a portion that was set aside
--      when the ledger was new stays to be looked for, whatever was taken over of the bill's other portions
create or replace table int_new_bills as
select id from stg_bills
where id not in (select bill_id from ref_charges)
    or id in (
        select bill_id from ref_portions
        where state = 'quarantined'
            and (bill_id, subscription_id) not in (select (bill_id, subscription_id) from ref_charges)
    )
