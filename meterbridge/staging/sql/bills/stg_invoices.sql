-- grain: one row per Chargebee invoice read in this run, its lines nested
-- reads: raw_chargebee__invoices, ref_credit_notes
-- why: the same draft may come from several lists and from a read by id; the newest version counts, and among equal
--      ones that by id. A deleted invoice stays as one: nothing stands on it any more.
--      A credit note is ours if the ledger has its id, or has one of this amount under way for the invoice.
create or replace table stg_invoices as
with ours as (select coalesce(list(coalesce(credit_id, invoice_id || ':' || amount)), []) as names from ref_credit_notes)
select
    entry.invoice.id as id,
    case when entry.invoice.deleted = 'true' then 'deleted' else entry.invoice.status end as status,
    entry.invoice.customer_id as customer_id,
    entry.invoice.subscription_id as subscription_id,
    entry.invoice.business_entity_id as business_entity_id,
    entry.invoice.currency_code as currency,
    try_cast(entry.invoice.date as bigint) as date,
    coalesce(entry.invoice.price_type, 'tax_exclusive') as price_type,
    origin = 'by id' as strong,
    list_transform(coalesce(entry.invoice.line_items, []), lambda line: {
        'id': line.id, 'entity_type': line.entity_type, 'entity_id': line.entity_id,
        'description': coalesce(line.description, ''), 'date_from': try_cast(line.date_from as bigint),
        'date_to': try_cast(line.date_to as bigint), 'amount': try_cast(line.amount as bigint),
        'subscription_id': coalesce(line.subscription_id, entry.invoice.subscription_id)
    }) as lines,
    list_transform(list_filter(
        list_concat(coalesce(entry.invoice.issued_credit_notes, []), coalesce(entry.invoice.adjustment_credit_notes, [])),
        lambda note: coalesce(note.cn_status, '') <> 'voided' and not list_contains(ours.names, note.cn_id)
            and not list_contains(ours.names, entry.invoice.id || ':' || coalesce(note.cn_total, ''))
    ), lambda note: {'id': note.cn_id, 'amount': coalesce(try_cast(note.cn_total as bigint), 0)}) as foreign_notes
from raw_chargebee__invoices cross join ours
where entry.invoice.id is not null
qualify row_number() over (
    partition by entry.invoice.id
    order by coalesce(try_cast(entry.invoice.resource_version as bigint), 0) desc, (origin = 'by id') desc
) = 1
