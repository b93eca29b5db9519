-- grain: one row per customer to decide: itself, its subscriptions of this run, what is known and what was found
-- reads: stg_customers, int_subscriptions, int_earlier, ref_accounts, ref_account_plans, ref_external_mappings,
--        int_families, int_similar, raw_m3ter__account_plans, raw_m3ter__external_mappings
-- why: overlap, currency and hierarchy are decisions on a whole customer
create or replace table int_customers as
with subscriptions as (
    select customer_id, list(s order by created_at, id) as subscriptions
    from int_subscriptions as s group by all
),
earlier as (
    select present_customer_id as customer_id, list(e order by told_at, resource_version) as earlier
    from int_earlier as e group by all
),
seen as (
    select k.*, p.id is not null as seen, p.billEpoch as found_epoch, p.code as found_code
    from ref_account_plans as k
    left join (select distinct on (id) * from raw_m3ter__account_plans) as p on p.id = k.account_plan_id
),
owned as (
    select customer_id as id, k from seen as k
    union
    select s.customer_id as id, k from int_subscriptions as s join seen as k on k.subscription_id = s.id
),
known as (select id as customer_id, list(k) as known_plans from owned group by all),
mapped_accounts as (
    select m3terId as account_id, list(externalId) as customer_ids
    from raw_m3ter__external_mappings
    where m3terEntity = 'Account' and externalTable = 'Customer' group by all
),
accounts as (
    select a.folded, list(distinct {
        'id': a.id, 'code': a.code, 'name': a.name, 'currency': a.currency, 'mapped': coalesce(m.customer_ids, []),
        'own': a.own
    }) as found
    from int_families as a left join mapped_accounts as m on m.account_id = a.id group by all
),
mapped_plans as (
    select m3terId as account_plan_id, list(externalId) as external_ids
    from raw_m3ter__external_mappings
    where m3terEntity = 'AccountPlan' and externalTable = 'Subscription' group by all
),
plans as (
    select a.folded, list(distinct {
        'id': p.id, 'account_id': p.accountId, 'plan_id': p.planId, 'product_id': p.productId, 'code': p.code,
        'start': p.startDate, 'end': p.endDate, 'bill_epoch': p.billEpoch,
        'external_ids': coalesce(m.external_ids, [])
    }) as found
    from raw_m3ter__account_plans as p
    join int_families as a on a.id = p.accountId
    left join mapped_plans as m on m.account_plan_id = p.id
    group by all
),
subscribed as (
    select customer_id, id as subscription_id from int_subscriptions
    union
    select customer_id, subscription_id from ref_account_plans
),
children as (
    select s.customer_id, list(r) as children
    from subscribed as s join ref_accounts as r on r.customer_id = s.customer_id || '~' || s.subscription_id
    group by all
),
mappings as (select customer_id, list(key) as keys from ref_external_mappings group by all),
looks as (select customer_id, list(s order by s.account_id) as similar from int_similar as s group by all)
select
    c.*, coalesce(s.subscriptions, []) as subscriptions, coalesce(l.earlier, []) as earlier, coalesce(k.known_plans, []) as known_plans,
    r.account_id, r.fingerprint as account_fingerprint, r.currency as account_currency, r.parent as account_parent,
    r.code as account_code, coalesce(a.found, []) as found_accounts, coalesce(o.similar, []) as similar,
    coalesce(m.keys, []) as known_mappings,
    coalesce(p.found, []) as found_plans, coalesce(h.children, []) as children
from stg_customers as c
left join subscriptions as s on s.customer_id = c.id
left join earlier as l on l.customer_id = c.id
left join known as k on k.customer_id = c.id
left join ref_accounts as r on r.customer_id = c.id
left join accounts as a on a.folded = lower(c.id)
left join plans as p on p.folded = lower(c.id)
left join children as h on h.customer_id = c.id
left join looks as o on o.customer_id = c.id
left join mappings as m on m.customer_id = c.id
