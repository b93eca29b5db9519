-- grain: one row per bill to decide, with everything its rule needs nested
-- reads: stg_bills, stg_bill_lines, int_placed_plans, int_not_ours, stg_subscriptions, stg_subscription_items, stg_customers,
--        stg_invoices, int_new_bills, int_payers, ref_charges, ref_settled, raw_m3ter__external_mappings, ref_portions,
--        ref_unproven, ref_undone, ref_releases
-- why: a bill is decided as a whole, on its customer's invoices; one without a charge in the ledger may have some at
--      the vendor (a ledger lost, or restored from a backup), so its lines there are adopted first and on those that its lines stand on
create or replace table int_bills as
with lines as (
    select bill_id, list(l order by sequence, id) as lines from stg_bill_lines as l group by all
),
billed as (
    select id as bill_id, account_id from stg_bills
    union
    select bill_id, child_account_id from stg_bill_lines where child_account_id is not null
),
placed as (select b.bill_id, p from billed as b join int_placed_plans as p on p.account_id = b.account_id),
plans as (select bill_id, list(p order by p.start_at) as plans from placed group by all),
items as (select subscription_id, list(item_price_id) as ids from stg_subscription_items group by all),
facts as (
    select s.id, s.customer_id, c.invoice_owner_id, if(s.deleted, 'deleted', s.status) as status, s.currency,
        s.created_at, s.next_billing_at, s.current_term_end, coalesce(c.consolidated, false) as consolidated, coalesce(i.ids, []) as item_price_ids,
        s.auto_close, c.auto_close as customer_auto_close, s.business_entity_id
    from stg_subscriptions as s
    left join stg_customers as c on c.id = s.customer_id
    left join items as i on i.subscription_id = s.id
),
involved as (select distinct d.bill_id, f from placed as d join facts as f on f.id = d.p.subscription_id),
subscriptions as (select bill_id, list(f order by f.id) as subscriptions from involved group by all),
payers as (
    select bill_id, customer_id from int_payers
    union select bill_id, f.customer_id from involved
    union select bill_id, f.invoice_owner_id from involved where f.invoice_owner_id is not null
),
concerned as (
    select y.bill_id, i.id as invoice_id from payers as y join stg_invoices as i on i.customer_id = y.customer_id
    union select bill_id, invoice_id from ref_charges
),
invoices as (
    select c.bill_id, list(i order by i.date, i.id) as invoices
    from concerned as c join stg_invoices as i on i.id = c.invoice_id group by all
),
owned as (
    select y.bill_id, list(distinct r.line_id) as line_ids
    from payers as y join stg_invoices as i on i.customer_id = y.customer_id
    join ref_charges as r on r.invoice_id = i.id and r.bill_id <> y.bill_id and r.carried is null
    group by all
),
charges as (select bill_id, list(r) as standing from ref_charges as r group by all),
settled as (select bill_id, list(r) as settled from ref_settled as r group by all),
portions as (select bill_id, list(r) as portions from ref_portions as r group by all),
undone as (select bill_id, list(r) as undone from ref_undone as r group by all),
unproven as (select bill_id, list(distinct r) as unproven from ref_unproven as r group by all),
paying as (select bill_id, list(customer_id order by customer_id) as payers from int_payers group by all),
releases as (select bill_id, list(r) as releases from ref_releases as r group by all),
mapped as (select l.bill_id, list({'line_id': l.id, 'invoice_line_id': m.externalId}) as mapped
    from stg_bill_lines as l join raw_m3ter__external_mappings as m on m.m3terId = l.id group by all),
marks as (select m3terId as bill_id, list(distinct externalId order by externalId) as marks from raw_m3ter__external_mappings where m3terEntity = 'Bill' group by all)
select b.*, coalesce(l.lines, []) as lines, coalesce(p.plans, []) as plans,
    coalesce(s.subscriptions, []) as subscriptions, coalesce(i.invoices, []) as invoices,
    coalesce(r.standing, []) as standing, coalesce(t.settled, []) as settled, coalesce(w.portions, []) as portions,
    coalesce(u.unproven, []) as unproven, coalesce(z.undone, []) as undone, coalesce(m.mapped, []) as mapped,
    k.id is null as known, coalesce(o.line_ids, []) as owned_lines, coalesce(n.marks, []) as marks,
    coalesce(y.payers, []) as payers, coalesce(x.releases, []) as releases,
    b.id in (select bill_id from int_not_ours) as not_ours
from stg_bills as b
left join lines as l on l.bill_id = b.id
left join plans as p on p.bill_id = b.id
left join subscriptions as s on s.bill_id = b.id
left join invoices as i on i.bill_id = b.id
left join owned as o on o.bill_id = b.id
left join charges as r on r.bill_id = b.id
left join settled as t on t.bill_id = b.id
left join portions as w on w.bill_id = b.id
left join unproven as u on u.bill_id = b.id
left join undone as z on z.bill_id = b.id
left join mapped as m on m.bill_id = b.id
left join marks as n on n.bill_id = b.id
left join int_new_bills as k on k.id = b.id
left join paying as y on y.bill_id = b.id
left join releases as x on x.bill_id = b.id
