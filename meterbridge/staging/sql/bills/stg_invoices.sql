-- grain: one row per Chargebee invoice read in this run, its lines nested
-- reads: raw_chargebee__invoices
-- why: the same draft may come from several lists and from a read by id; the newest version counts, and among equal
--      ones that by id. A deleted invoice stays as one: nothing stands on it any more.
create or replace table stg_invoices as
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
    }) as lines
from raw_chargebee__invoices
where entry.invoice.id is not null
qualify row_number() over (
    partition by entry.invoice.id
    order by coalesce(try_cast(entry.invoice.resource_version as bigint), 0) desc, (origin = 'by id') desc
) = 1
