-- grain: one row per m3ter account and customer it may belong to: by its own code, its mapping, the ledger or its looks,
--        and by its parent for a child account
-- reads: raw_m3ter__accounts, raw_m3ter__external_mappings, ref_accounts, int_similar
-- why: an account that was there before us has a code of its own, codes that differ only in case clash, and a child
--      account is found under its parent's customer
create or replace table int_families as
with heads as (
    select lower(coalesce(a.own, a.code)) as folded, a.* from raw_m3ter__accounts as a where a.own is distinct from ''
    union
    select lower(m.externalId) as folded, a.* from raw_m3ter__accounts as a
    join raw_m3ter__external_mappings as m
        on m.m3terId = a.id and m.m3terEntity = 'Account' and m.externalTable = 'Customer'
    union
    select lower(r.customer_id) as folded, a.* from raw_m3ter__accounts as a join ref_accounts as r on r.account_id = a.id
    union
    select lower(s.customer_id) as folded, a.* from raw_m3ter__accounts as a join int_similar as s on s.account_id = a.id
)
select * from heads
union
select h.folded, c.* from heads as h
join raw_m3ter__accounts as c on c.parentAccountId = h.id and starts_with(lower(coalesce(c.own, c.code)), h.folded || '~')
