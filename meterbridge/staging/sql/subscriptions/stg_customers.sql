-- grain: one row per Chargebee customer id, the highest resource_version seen in this run
-- reads: raw_chargebee__customers, raw_chargebee__subscriptions
-- why: the copy embedded in a subscription serves where the customer itself was not in the window
create or replace table stg_customers as
with seen as (
    select entry.customer as c, 1 as own from raw_chargebee__customers
    union all
    select entry.customer as c, 0 as own from raw_chargebee__subscriptions where entry.customer.id is not null
)
select
    c.id as id,
    coalesce(nullif(trim(c.company), ''), nullif(trim(concat_ws(' ', c.first_name, c.last_name)), ''), '') as name,
    nullif(trim(c.email), '') as email,
    c.preferred_currency_code as currency,
    c.billing_address as address,
    c.relationship.invoice_owner_id as invoice_owner_id,
    coalesce(c.consolidated_invoicing = 'true', false) as consolidated,
    c.auto_close_invoices = 'true' as auto_close,
    coalesce(c.deleted = 'true', false) as deleted,
    coalesce(try_cast(c.resource_version as bigint), 0) as resource_version
from seen
where c.id is not null
qualify row_number() over (
    partition by c.id order by coalesce(try_cast(c.resource_version as bigint), 0) desc, own desc
) = 1
