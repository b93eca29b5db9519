-- grain: one row per m3ter account and customer it may belong to: its own code's, and its parent's for a child account
-- reads: raw_m3ter__accounts
-- why: codes that differ only in case clash; a child account is found under its parent's code
create or replace table int_families as
select lower(code) as folded, * from raw_m3ter__accounts
union all
select lower(p.code) as folded, c.* from raw_m3ter__accounts as c
join raw_m3ter__accounts as p on p.id = c.parentAccountId and starts_with(c.code, p.code || '~')
